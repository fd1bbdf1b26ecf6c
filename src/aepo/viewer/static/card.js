// A group in the list, and the numbers of all of them.
import { figure, h, number, plural } from "./dom.js";
import { rewardIcon, slots } from "./marks.js";
import { thumbnail } from "./outline.js";
import { addressOf } from "./route.js";

export function summary(view, has, entries, worlds) {
  return h(
    "div",
    { class: "facts" },
    view.runs.map((run, number_) => {
      const mine = entries.flatMap(({ questions, runs }) => questions.filter((_, i) => runs[i] === number_));
      if (!has[number_] || !mine.length) return null;
      const rewards = mine.flatMap((q) => q.rewards).filter((reward) => reward !== null);
      const fact = (value, words) => h("span", {}, h("b", {}, value), ` ${words}`);
      return h(
        "div",
        { class: `facts run${number_}` },
        view.runs.length > 1 ? h("b", { class: `run-name run${number_}` }, run.name) : null,
        fact(number(d3.mean(rewards)), "mean reward"),
        fact(`${figure(100 * d3.mean(rewards, (r) => r >= view.success))} %`, "of paths solved"),
        fact(figure(d3.mean(mine, (q) => q.m)), "from the question (m)"),
        fact(figure(d3.mean(mine, (q) => q.branches)), "branches a group"),
        worlds[number_],
      );
    }),
  );
}

export function card(view, section, { address, questions, runs }) {
  const first = questions[0];
  return h(
    "a",
    { class: "question", href: addressOf(section, address), "data-id": first.id },
    h("span", { class: "ask", dir: "auto" }, first.question),
    questions.map((q, i) =>
      h(
        "span",
        { class: `one run${runs[i]}` },
        view.runs.length > 1 ? h("span", { class: `run-name run${runs[i]}` }, view.runs[runs[i]].name) : null,
        thumbnail(q, view.success),
        h(
          "span",
          { class: "facts" },
          h(
            "span",
            { title: "mean and standard deviation of the paths' rewards" },
            h("b", {}, number(q.reward)),
            ` ± ${number(q.spread)}`,
          ),
          h("span", {}, rewardIcon(view.success, view.success), ` ${q.solved}/${q.rewards.length}`),
          h("span", {}, slots(q.origins), ` m ${q.m}`),
          q.branches ? h("span", {}, plural(q.branches, "branch", "branches")) : null,
          q.environment ? h("span", {}, String(q.environment)) : null,
          q.refused ? h("span", { class: "bad" }, `${plural(q.refused, "branch", "branches")} refused`) : null,
          q.lost ? h("span", { class: "bad" }, `${plural(q.lost, "world")} lost`) : null,
          q.format_errors ? h("span", { class: "bad" }, plural(q.format_errors, "format error")) : null,
          q.without_call ? h("span", { class: "bad" }, `${q.without_call} without a call`) : null,
        ),
      ),
    ),
  );
}
