// A branch decision in words and numbers, and the paths that began there.
import { h, number, plural, signed } from "./dom.js";
import { NEAR, rewardIcon, standing } from "./marks.js";
import { STOPPED } from "./names.js";

export function decisionOf(question, id, d, c) {
  const kind = standing(d, c.tau),
    percent = (p) => `${100 * Math.max(0, Math.min(1, p))}%`;
  const bar = h(
    "div",
    {
      class: "p-bar",
      role: "img",
      "aria-label": `P ${number(d.probability)}${c.tau === null ? "" : ` against threshold ${number(c.tau)}`}`,
    },
    h("i", { class: "level" }),
    c.tau === null ? null : h("i", { class: "tau" }),
  );
  bar.firstChild.style.setProperty("width", percent(d.probability));
  if (c.tau !== null) bar.lastChild.style.setProperty("left", percent(c.tau));
  const value = (sign, words, meaning) => h("span", { class: "number", title: meaning }, h("i", {}, sign), words);
  return h(
    "div",
    { class: `decision ${kind}`, "data-decision": id },
    h(
      "div",
      { class: "verdict" },
      h(
        "b",
        {},
        d.branches
          ? `Branched: ${plural(d.branches, "new path")}`
          : { refused: "Branch refused", near: "Nearly branched", far: "Did not branch" }[kind],
      ),
      d.branches ? null : h("span", {}, because(d, c.tau)),
    ),
    h(
      "div",
      { class: "numbers" },
      value("H", `${number(d.entropy)} nats`, "segment entropy after this result"),
      value("ΔH", signed(d.delta), "how much higher it is than after the question, scaled"),
      value("l", String(d.consecutive), "uncertain observations in a row on this path before"),
      value("P", number(d.probability), "branch probability"),
      c.tau === null ? null : value("τ", number(c.tau), "the threshold that P must exceed"),
      bar,
    ),
    pathButtons(
      (c.began.get(id) ?? []).filter((leaf) => leaf.path !== c.leaf.path),
      c,
    ),
  );
}

function because(d, tau) {
  if (d.stopped_by === "threshold" && tau !== null && d.probability > tau - NEAR)
    return `P is ${number(tau - d.probability, 3)} below the threshold`;
  return STOPPED[d.stopped_by] ?? "";
}

export const pathButtons = (leaves, c) =>
  leaves.length
    ? h(
        "div",
        { class: "to-paths" },
        leaves.map((leaf) =>
          h(
            "button",
            { onclick: () => c.onChoose(leaf.path) },
            `path ${leaf.path} `,
            rewardIcon(leaf.reward, c.success),
          ),
        ),
      )
    : null;

// Branches that should begin here and begin at the question, each with its reason.
export const refusedOf = (reasons) =>
  reasons?.length
    ? h(
        "div",
        { class: "decision why-refused" },
        h("b", {}, `${plural(reasons.length, "branch", "branches")} refused, the question was taken instead`),
        reasons.map((why) => h("pre", { dir: "auto" }, why)),
      )
    : null;
