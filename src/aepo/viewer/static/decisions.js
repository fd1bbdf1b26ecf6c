// All branch decisions of a group in one table: where it branched, and where it nearly did.
import { h, number, plural, signed } from "./dom.js";
import { standing } from "./marks.js";
import { STOPPED } from "./names.js";

const WORDS = { branched: "branched", near: "nearly", refused: "refused", far: "no" };

export function decisionTable(question, tau, onNode, { name, open }) {
  const found = question.nodes.flatMap((node, id) =>
    node.decision ? [{ id, d: node.decision, path: node.path, at: place(question, id) }] : [],
  );
  if (!found.length) return null;
  found.sort((a, b) => b.d.probability - a.d.probability);
  const counts = Object.keys(WORDS).map((kind) => found.filter(({ d }) => standing(d, tau) === kind).length);
  const strip = h(
    "div",
    { class: "strip", "aria-hidden": "true" },
    found.map(({ d }) => dot(d, tau)),
    tau === null ? null : line(tau),
  );
  return h(
    "details",
    { class: "decisions", open },
    h(
      "summary",
      {},
      h(
        "span",
        {},
        `${name ? `${name}: ` : ""}${plural(found.length, "observation")}: ${counts[0]} branched, ${counts[1]} nearly${counts[2] ? `, ${counts[2]} refused` : ""}`,
      ),
      strip,
      h("span", { class: "quiet" }, tau === null ? "P from 0 to 1" : `P from 0 to 1, τ ${number(tau)}`),
    ),
    h(
      "div",
      { class: "table" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["path", "observation", "H, nats", "ΔH", "l", "P", ""].map((words) => h("th", {}, words)),
          ),
        ),
        h(
          "tbody",
          {},
          found.map(({ id, d, path, at }) =>
            h(
              "tr",
              { class: standing(d, tau), onclick: () => onNode(id) },
              h("td", {}, h("button", { "aria-label": `path ${path}, observation ${at}` }, String(path))),
              [String(at), number(d.entropy), signed(d.delta), String(d.consecutive), number(d.probability)].map(
                (text) => h("td", {}, text),
              ),
              h(
                "td",
                { class: "why" },
                d.branches ? `${WORDS[standing(d, tau)]} × ${d.branches}` : (STOPPED[d.stopped_by] ?? ""),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

function place(question, id) {
  let count = 0;
  for (let at = id; at !== null; at = question.nodes[at].parent) count += question.nodes[at].results.length > 0;
  return count;
}

function dot(d, tau) {
  const mark = h("i", { class: standing(d, tau) });
  mark.style.setProperty("left", `${100 * Math.max(0, Math.min(1, d.probability))}%`);
  return mark;
}

function line(tau) {
  const mark = h("i", { class: "tau" });
  mark.style.setProperty("left", `${100 * tau}%`);
  return mark;
}
