// Small signs for rewards, origins and decisions; each differs in shape as well as in colour.
import { h, number, s } from "./dom.js";
import { ORIGINS } from "./names.js";

// Solved: a disk. Partly: a half disk. Nothing: a ring. Below zero: a cross. Not scored: a dot.
export function rewardSign(reward, success, x, y, r = 5) {
  const told = s("title", {}, reward === null ? "not scored" : `reward ${number(reward)}`);
  if (reward === null) return s("circle", { class: "reward none", cx: x, cy: y, r: r / 2.5 }, told);
  if (reward >= success) return s("circle", { class: "reward good", cx: x, cy: y, r }, told);
  if (reward > 0) {
    return s(
      "g",
      { class: "reward part" },
      told,
      s("circle", { cx: x, cy: y, r }),
      s("path", { d: `M${x} ${y - r}a${r} ${r} 0 0 0 0 ${2 * r}z` }),
    );
  }
  if (reward === 0) return s("circle", { class: "reward zero", cx: x, cy: y, r }, told);
  const d = r * 0.8;
  return s(
    "path",
    { class: "reward bad", d: `M${x - d} ${y - d}l${2 * d} ${2 * d}M${x + d} ${y - d}l${-2 * d} ${2 * d}` },
    told,
  );
}

export function rewardIcon(reward, success) {
  return s(
    "svg",
    { class: "icon", width: 14, height: 14, viewBox: "0 0 14 14", "aria-hidden": "true" },
    rewardSign(reward, success, 7, 7),
  );
}

// A group's slots in the order in which they were begun: how its budget was spent.
export function slots(origins) {
  const counts = Object.keys(ORIGINS)
    .map((origin) => [origin, origins.filter((o) => o === origin).length])
    .filter(([, n]) => n);
  return h(
    "span",
    { class: "slots", title: counts.map(([origin, n]) => `${n} ${ORIGINS[origin][0]}`).join(", ") },
    origins.map((origin) => h("i", { class: origin })),
  );
}

// P as the height of a column, the threshold as a line across it.
export function gauge(decision, tau, x, y, height, width = 7) {
  const p = Math.max(0, Math.min(1, decision.probability)),
    top = y - height / 2;
  const kind = standing(decision, tau);
  return s(
    "g",
    { class: `gauge ${kind}` },
    s("rect", { class: "shell", x: x - width / 2, y: top, width, height, rx: 1.5 }),
    s("rect", {
      class: "level",
      x: x - width / 2 + 1,
      y: top + 1 + (height - 2) * (1 - p),
      width: width - 2,
      height: (height - 2) * p,
    }),
    tau === null
      ? null
      : s("line", {
          class: "tau",
          x1: x - width / 2 - 2,
          x2: x + width / 2 + 2,
          y1: top + 1 + (height - 2) * (1 - tau),
          y2: top + 1 + (height - 2) * (1 - tau),
        }),
  );
}

export const NEAR = 0.05;

// Whether it branched, should have but its world could not be made again (refused), nearly did (only the threshold's last
// twentieth, the penalty or the budget kept it), or did not.
export function standing(decision, tau) {
  if (decision.branches) return "branched";
  if (decision.stopped_by === "environment") return "refused";
  if (
    decision.stopped_by !== "threshold" &&
    (decision.stopped_by !== "budget" || tau === null || decision.probability > tau)
  )
    return "near";
  return tau !== null && decision.probability > tau - NEAR ? "near" : "far";
}

// The rules that compare P with tau; the others draw by chance.
export function thresholdOf(rules) {
  const compares = ["threshold", "reference"].includes(rules.branch_rule);
  return compares && typeof rules.tau === "number" ? rules.tau : null;
}
