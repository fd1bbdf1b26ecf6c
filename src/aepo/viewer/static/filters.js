// Which questions of a list are shown, and in which order.
export const FILTERS = {
  failed: ["failed", "no path solved it", (q) => q.solved === 0],
  mixed: [
    "mixed",
    "some paths solved it, others did not: there is something to learn",
    (q) => q.solved > 0 && q.solved < q.rewards.length,
  ],
  without_call: ["no tool call", "at least one path never called a tool", (q) => q.without_call > 0],
  format_error: ["format error", "at least one path broke the format", (q) => q.format_errors > 0],
  tool_error: ["tool error", "at least one call failed", (q) => q.tool_errors > 0],
  branched: ["branched", "at least one path began inside another", (q) => q.branches > 0],
  refused: ["branch refused", "the world of a branch could not be made a second time", (q) => q.refused > 0],
  lost: ["world lost", "the environment of at least one path died", (q) => q.lost > 0],
};

// Left out where no question has it: most runs have no environments.
export const RARE = ["refused", "lost"];

export const ORDERS = {
  "as asked": null,
  "most branched": (q) => -q.branches,
  "widest rewards": (q) => -(q.spread ?? -1),
  "lowest reward": (q) => q.reward ?? Infinity,
  "most tokens": (q) => -q.distinct,
};

// Entries are {questions: one a run that has it}; a filter or a word must hold for one of them.
export function chosen(entries, { words, filters, order }) {
  const wanted = words.trim().toLowerCase();
  const says = (q) => [q.question, q.id, ...q.targets].some((text) => text.toLowerCase().includes(wanted));
  const kept = entries.filter(
    ({ questions }) => (!wanted || questions.some(says)) && filters.every((name) => questions.some(FILTERS[name][2])),
  );
  const by = ORDERS[order];
  return by ? d3.sort(kept, ({ questions }) => by(questions[0])) : kept;
}
