// Where it fails: by kind over the steps, by what the metadata says, and the answers that are wrong most often.
import { figure, h, number, percent, plural, s, short } from "./dom.js";

const HEIGHT = 190,
  LEFT = 44,
  BOTTOM = 22,
  TOP = 8;

// Each kind of failure: its words, and its share of a step's trajectories.
const KINDS = [
  ["answer", "wrong answer", (row) => Math.max(0, row["stop/answer"] + (row["stop/done"] ?? 0) - (row["success/mean"] ?? 0))],
  ["end", "ended without an answer", (row) => row["stop/end"]],
  ["format", "broke the format", (row) => row["stop/format"]],
  ["length", "limit on tokens", (row) => row["stop/length"]],
  ["tool_limit", "limit on calls", (row) => row["stop/tool_limit"]],
  ["time", "limit on seconds", (row) => row["stop/time"]],
  ["lost", "world lost", (row) => row["stop/lost"]],
];

export function drawFailures(box, rows, found, name, run) {
  const trained = rows.filter((row) => "stop/answer" in row);
  const parts = [overTime(trained), byMetadata(found), wrongAnswers(found)].filter(Boolean);
  if (!parts.length) return;
  box.append(
    h("h2", {}, "Where it fails", name ? h("span", { class: `run-name run${run}` }, name) : null),
    h("div", { class: "failing" }, parts),
  );
}

function overTime(rows) {
  if (!rows.length) return null;
  const kinds = KINDS.map(([key, words, share]) => [key, words, rows.map((row) => share(row) ?? 0)]).filter(([, , values]) =>
    values.some((value) => value > 0.001),
  );
  if (!kinds.length) return null;
  const width = innerWidth < 640 ? 340 : 640,
    steps = rows.map((row) => row.step);
  const stack = d3.stack().keys(d3.range(kinds.length));
  const layers = stack.value((at, kind) => kinds[kind][2][at])(d3.range(rows.length));
  const highest = d3.max(layers.at(-1), (point) => point[1]);
  const x = d3.scaleLinear(steps.length > 1 ? d3.extent(steps) : [steps[0] - 1, steps[0] + 1], [LEFT, width - 8]);
  const y = d3.scaleLinear([0, highest], [HEIGHT - BOTTOM, TOP]).nice(3);
  const edges = steps.length > 1 ? (at) => x(steps[at]) : (at) => x(steps[0] + (at ? 1 : -1));
  const wide = (layer) => (steps.length > 1 ? layer : [layer[0], layer[0]]);
  const area = d3.area((_, i) => edges(i), (point) => y(point[0]), (point) => y(point[1]));
  const svg = s(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": "Share of trajectories by kind of failure" },
    y.ticks(3).map((tick) => [
      s("line", { class: "grid", x1: LEFT, x2: width - 8, y1: y(tick), y2: y(tick) }),
      s("text", { class: "tick", x: LEFT - 6, y: y(tick) + 3.5, "text-anchor": "end" }, `${number(100 * tick, 0)} %`),
    ]),
    x
      .ticks(width / 80)
      .filter(Number.isInteger)
      .map((tick) => s("text", { class: "tick", x: x(tick), y: HEIGHT - 5, "text-anchor": "middle" }, String(tick))),
    s("text", { class: "tick", x: LEFT - 14, y: HEIGHT - 5, "text-anchor": "end" }, "step"),
    layers.map((layer, i) => s("path", { class: `failure ${kinds[i][0]}`, d: area(wide(layer)) }, s("title", {}, kinds[i][1]))),
  );
  const legend = h(
    "ul",
    { class: "kinds" },
    [...kinds].reverse().map(([key, words, values]) =>
      h(
        "li",
        { "data-kind": key },
        h("i", { class: `failure ${key}` }),
        words,
        h("b", {}, `${percent(values[0])} → ${percent(values.at(-1))}`),
      ),
    ),
  );
  return h("figure", { class: "chart failures" }, h("figcaption", {}, "Trajectories without success, by kind"), svg, legend);
}

function byMetadata(found) {
  if (!found.by.length) return null;
  const compared = found.steps.length > 1;
  return found.by.map(({ key, rows }) =>
    h(
      "div",
      { class: "table" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, [key, "questions", ...(compared ? ["before", "after"] : ["right"])].map((words) => h("th", {}, words)))),
        h(
          "tbody",
          {},
          d3.sort(rows, (row) => row.after).map((row) =>
            h(
              "tr",
              {},
              h("td", {}, short(row.value, 40)),
              h("td", {}, figure(row.questions)),
              compared ? h("td", {}, percent(row.before)) : null,
              h("td", {}, h("b", {}, percent(row.after))),
            ),
          ),
        ),
      ),
    ),
  );
}

function wrongAnswers(found) {
  if (!found.wrong.length) return null;
  return h(
    "div",
    { class: "table wrong" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["most frequent wrong answers", "times", "to"].map((words) => h("th", {}, words)))),
      h(
        "tbody",
        {},
        found.wrong.map(({ answer, count, questions }) =>
          h("tr", {}, h("td", { dir: "auto" }, short(answer, 60)), h("td", {}, figure(count)), h("td", {}, plural(questions, "question"))),
        ),
      ),
    ),
  );
}
