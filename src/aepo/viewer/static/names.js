// What things are called, and in what they are measured.
export const ORIGINS = {
  probe: ["probe", "started at the question; its entropies decided the budget"],
  global: ["global", "started at the question"],
  branch: ["branch", "left another path right after an observation"],
  resampled: ["call anew", "left another path at a call, which it made anew"],
  leftover: ["left-over", "started at the question in a slot that nobody else took"],
};

export const STOPPED = {
  threshold: "P is not above the threshold",
  penalty: "only the penalty for uncertain observations in a row kept it",
  pacing: "P would do, the pacing of the budget did not",
  budget: "no slot was left",
  environment: "the world could not be made a second time",
};

export const STOPS = {
  answer: "answered",
  end: "ended without an answer",
  format: "broke the format",
  length: "reached the limit on tokens",
  time: "reached the limit on seconds",
  tool_limit: "asked for more calls than were left",
  done: "done",
  lost: "world lost",
};

// How a call ended that did what was asked.
export const worked = (status) => status === "ok" || status === "done";

export const TITLES = {
  "eval/success": "Success, held out",
  "reward/mean": "Reward, mean",
  "reward/std": "Reward, spread",
  "entropy/policy": "Entropy of the policy",
  "entropy/root": "Entropy after the question",
  "entropy/after_tool": "Entropy after a tool result",
  "budget/m_mean": "Paths from the question, m",
  "branch/per_group": "Branches a group",
  "clip/high_fraction": "Clipped above",
  "logprobs/rollout_difference_mean": "Sampler against trainer",
  "correction/effective_sample_size": "Effective sample size",
  "correction/cut_share": "Ratios cut by the correction",
  "correction/dropped_share": "Trajectories dropped by the correction",
  "weights/difference": "Served policy against trainer",
  "logprobs/rollout_outside_share": "Ratios outside 0.8 to 1.2 before the update",
  "tool/calls_per_trajectory": "Tool calls a trajectory",
  "environment/opened": "Worlds opened",
  "environment/replayed_calls": "Calls made again for branches",
  "environment/refused": "Branches refused",
  "environment/lost": "Worlds lost",
  "tokens/trajectory": "Tokens a trajectory",
  "time/step": "Time a step",
};

// The curves that come first; the others are one click away.
export const FIRST = [
  "eval/success",
  "reward/mean",
  "entropy/policy",
  "entropy/root",
  "entropy/after_tool",
  "budget/m_mean",
  "branch/per_group",
  "clip/high_fraction",
  "logprobs/rollout_difference_mean",
  "correction/effective_sample_size",
  "correction/cut_share",
  "correction/dropped_share",
];

// Unit and sentence of each metric, as the server tells them with the rows.
const told = new Map();

export function learnMeanings(meanings) {
  for (const [name, meaning] of Object.entries(meanings)) told.set(name, meaning);
}

export function unit(name) {
  const found = told.get(name)?.[0] ?? "";
  return found === "share" ? "%" : found;
}

export function meaning(name) {
  return told.get(name)?.[1] ?? "";
}

export function title(name) {
  return TITLES[name] ?? name;
}
