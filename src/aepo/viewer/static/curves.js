// The charts of a run: the telling ones, and all others one click away.
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { FIRST } from "./names.js";
import { addressOf, go } from "./route.js";
import { namesOf } from "./series.js";

export function drawCurves(box, view, all, more) {
  const names = namesOf(all),
    first = FIRST.filter((name) => names.includes(name));
  const shown = first.length ? first : names.slice(0, FIRST.length),
    others = names.filter((name) => !shown.includes(name));
  const kept = [...new Set(view.runs.flatMap((run) => run.sections.map((section) => section.step)))].filter(
    (step) => step !== null,
  );
  const draw = (name) =>
    chart(
      name,
      all.flatMap((series, run) => (series.has(name) ? [{ run, points: series.get(name) }] : [])),
      kept,
      (step) => {
        const nearest = d3.least(kept, (other) => Math.abs(other - step));
        if (nearest !== undefined) go(addressOf(String(nearest)));
      },
    );
  if (!names.length) {
    box.replaceChildren(
      ...(view.runs.some((run) => run.kind === "run")
        ? [h("h2", {}, "Curves"), h("p", { class: "none" }, "No step has been logged yet.")]
        : []),
    );
    return;
  }
  const grid = h("div", { class: "charts" });
  const fill = () => grid.replaceChildren(...others.filter((name) => name.includes(more.words)).map(draw));
  const find = h("input", {
    type: "search",
    placeholder: "Find a metric",
    "aria-label": "Find a metric",
    value: more.words,
    oninput: () => {
      more.words = find.value;
      fill();
    },
  });
  const details = h(
    "details",
    {
      open: more.open,
      ontoggle: () => {
        more.open = details.open;
        if (details.open && !grid.childElementCount) fill();
      },
    },
    h("summary", {}, `${others.length} more`),
    find,
    grid,
  );
  if (more.open) fill();
  box.replaceChildren(
    h("h2", {}, "Curves"),
    h("div", { class: "charts" }, shown.map(draw)),
    ...(others.length ? [details] : []),
  );
}
