// One small chart: a curve a run, its interval where there is one, a reading line under the pointer.
import { figure, h, number, s } from "./dom.js";
import { meaning, title, unit } from "./names.js";

const WIDTH = 320,
  HEIGHT = 132,
  LEFT = 44,
  RIGHT = 8,
  TOP = 8,
  BOTTOM = 20;

export function chart(name, curves, trees, onStep) {
  const points = curves.flatMap((curve) => curve.points);
  const steps = d3.extent(points, (p) => p[0]);
  const values = points.flatMap((p) => [p[1], p[2] ?? p[1], p[3] ?? p[1]]);
  const low = Math.min(d3.min(values), d3.min(values) > 0 ? 0 : Infinity),
    high = d3.max(values);
  const x = d3.scaleLinear(steps[0] === steps[1] ? [steps[0] - 1, steps[0] + 1] : steps, [LEFT, WIDTH - RIGHT]);
  const y = d3.scaleLinear(low === high ? [Math.min(low, 0), Math.max(high, 0) || 0.01] : [low, high], [HEIGHT - BOTTOM, TOP]).nice(3);
  const percent = unit(name) === "%";
  const read = (value) => (percent ? `${figure(100 * value)} %` : figure(value));
  const line = d3.line(
    (p) => x(p[0]),
    (p) => y(p[1]),
  );
  const band = d3.area(
    (p) => x(p[0]),
    (p) => y(p[2] ?? p[1]),
    (p) => y(p[3] ?? p[1]),
  );
  const reading = s("line", { class: "reading", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const dots = curves.map((curve) => s("circle", { class: `dot run${curve.run}`, r: 3.2, visibility: "hidden" }));
  const now = h("span", { class: "now" });
  const lasts = () => curves.map((curve) => curve.points.at(-1));
  const tell = (shown) =>
    now.replaceChildren(
      ...shown.map((p, i) => h("b", { class: `run${curves[i].run}` }, p ? read(p[1]) : "–")),
      !percent && unit(name) ? ` ${unit(name)}` : "",
    );
  tell(lasts());
  const ticks = y.ticks(3),
    digits = d3.precisionFixed(d3.tickStep(...y.domain(), 3) * (percent ? 100 : 1));
  const tickWords = (value) =>
    value === 0 ? "0" : Math.abs(value) >= 10000
      ? d3.format(".2~s")(value)
      : digits > 4 && value
        ? d3.format(".1~e")(value * (percent ? 100 : 1)).replace("−", "-")
        : number(value * (percent ? 100 : 1), Math.min(digits, 4));
  const svg = s(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `${title(name)}: ${lasts()
        .map((p) => read(p[1]))
        .join(" and ")} at the end`,
    },
    ticks.map((tick) => [
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
      s("text", { class: "tick", x: LEFT - 6, y: y(tick) + 3.5, "text-anchor": "end" }, tickWords(tick)),
    ]),
    x
      .ticks(4)
      .filter(Number.isInteger)
      .map((tick) => s("text", { class: "tick", x: x(tick), y: HEIGHT - 5, "text-anchor": "middle" }, String(tick))),
    s("text", { class: "tick", x: LEFT - 14, y: HEIGHT - 5, "text-anchor": "end" }, "step"),
    trees
      .filter((step) => step >= steps[0] && step <= steps[1])
      .map((step) => s("path", { class: "has-trees", d: `M${x(step)} ${HEIGHT - BOTTOM}v4` })),
    curves.map((curve) =>
      curve.points.some((p) => p[2] !== null)
        ? s("path", { class: `band run${curve.run}`, d: band(curve.points) })
        : null,
    ),
    curves.map((curve) => s("path", { class: `curve run${curve.run}`, d: line(curve.points) })),
    curves.map((curve) =>
      curve.points.length < 8
        ? curve.points.map((p) => s("circle", { class: `dot run${curve.run}`, cx: x(p[0]), cy: y(p[1]), r: 2.2 }))
        : null,
    ),
    reading,
    dots,
  );
  const move = (event) => {
    const box = svg.getBoundingClientRect(),
      at = x.invert(((event.clientX - box.left) * WIDTH) / box.width);
    const near = curves.map((curve) => d3.least(curve.points, (p) => Math.abs(p[0] - at)));
    const step = d3.least(near, (p) => Math.abs(p[0] - at))[0];
    const shown = near.map((p) => (p[0] === step ? p : null));
    tell(shown);
    now.prepend(h("i", {}, `step ${step} `));
    reading.setAttribute("visibility", "visible");
    reading.setAttribute("x1", x(step));
    reading.setAttribute("x2", x(step));
    shown.forEach((p, i) => {
      dots[i].setAttribute("visibility", p ? "visible" : "hidden");
      if (p) {
        dots[i].setAttribute("cx", x(p[0]));
        dots[i].setAttribute("cy", y(p[1]));
      }
    });
    svg.dataset.step = step;
  };
  const leave = () => {
    tell(lasts());
    for (const mark of [reading, ...dots]) mark.setAttribute("visibility", "hidden");
  };
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("click", () => svg.dataset.step && onStep(Number(svg.dataset.step)));
  // A finger has no pointer that rests: it opens the sentence.
  const sentence = h("p", { class: "meaning", hidden: true }, h("code", {}, name), ` ${meaning(name)}`);
  const caption = h(
    "button",
    {
      class: "name",
      title: `${name}: ${meaning(name)}`,
      "aria-expanded": "false",
      onclick: () => {
        sentence.hidden = !sentence.hidden;
        caption.setAttribute("aria-expanded", String(!sentence.hidden));
      },
    },
    title(name),
  );
  return h("figure", { class: "chart", "data-metric": name }, h("figcaption", {}, caption, now), sentence, svg);
}
