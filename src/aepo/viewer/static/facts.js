// The numbers of a group, on top of its tree.
import { figure, h, number, plural, signed } from "./dom.js";
import { slots } from "./marks.js";

export function groupFacts(question, success) {
  const fact = (value, words, title) => h("span", { title }, h("b", {}, value), ` ${words}`);
  const shared = question.flat ? Math.round(100 * (1 - question.distinct / question.flat)) : 0;
  return h(
    "div",
    { class: "facts" },
    fact(
      `${number(question.reward)} ± ${number(question.spread)}`,
      "reward",
      "mean and standard deviation over the paths",
    ),
    fact(`${question.solved} of ${question.leaves.length}`, "solved", `reward of ${success} or more`),
    h("span", {}, slots(question.origins), " ", h("b", {}, `m ${question.m}`), " from the question"),
    fact(figure(question.branches), question.branches === 1 ? "branch" : "branches"),
    question.gap === null
      ? null
      : fact(`${signed(question.gap)} nats`, "gap", "H_root − H_tool of the probes, which decided m"),
    fact(figure(question.calls), "tool calls", "executed ones; a shared one counts once"),
    fact(
      figure(question.distinct),
      `tokens, ${shared} % shared`,
      `${plural(question.flat, "token")} if each path had its own`,
    ),
    question.refused
      ? h("span", { class: "bad" }, `${plural(question.refused, "branch", "branches")} refused`)
      : null,
    question.lost ? h("span", { class: "bad" }, `${plural(question.lost, "world")} lost`) : null,
    question.environment ? fact(String(question.environment), "environment") : null,
    question.id ? h("span", { class: "id" }, question.id) : null,
  );
}
