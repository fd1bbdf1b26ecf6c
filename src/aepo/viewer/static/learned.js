// What was learned: held-out questions before and after, and the answers side by side.
import { h, percent, plural, short } from "./dom.js";
import { STOPS } from "./names.js";

const FEW = 5;

const right = (attempts) => attempts.right >= 0.5;

// A question is right if at least half of its samples are.
export const CHANGES = [
  ["gained", "wrong to right", (q) => q.before && !right(q.before) && right(q.after)],
  ["forgotten", "right to wrong", (q) => q.before && right(q.before) && !right(q.after)],
  ["right", "right", (q) => right(q.after) && !(q.before && !right(q.before))],
  ["wrong", "wrong", (q) => !right(q.after) && !(q.before && right(q.before))],
];

export function drawLearned(box, found, name, run, state) {
  const { steps, questions } = found;
  if (!questions.length) return;
  const compared = steps.length > 1;
  const counts = CHANGES.map(([, , holds]) => questions.filter(holds).length);
  state.change ??= CHANGES[counts.findIndex((count) => count > 0)][0];
  const list = h("div", { class: "answers" });
  const chips = CHANGES.map(([key, words], i) =>
    compared || counts[i]
      ? h(
          "button",
          {
            class: "chip",
            "data-change": key,
            disabled: !counts[i],
            "aria-pressed": String(state.change === key),
            onclick: () => {
              Object.assign(state, { change: key, shown: FEW });
              draw();
            },
          },
          words,
          h("b", {}, counts[i]),
        )
      : null,
  );
  function draw() {
    const [, , holds] = CHANGES.find(([key]) => key === state.change);
    const kept = d3.sort(questions.filter(holds), (q) => -Math.abs(q.after.right - (q.before?.right ?? 0)));
    for (const chip of chips) chip?.setAttribute("aria-pressed", String(chip.dataset.change === state.change));
    list.replaceChildren(...kept.slice(0, state.shown ?? FEW).map((q) => question(q, steps)));
    if (kept.length > (state.shown ?? FEW))
      list.append(
        h(
          "button",
          {
            class: "more",
            onclick: () => {
              state.shown = (state.shown ?? FEW) + 20;
              draw();
            },
          },
          `show more of ${kept.length}`,
        ),
      );
  }
  draw();
  const share = (side) => percent(d3.mean(questions, (q) => q[side]?.right));
  box.append(
    h("h2", {}, compared ? "What it learned" : "Questions", name ? h("span", { class: `run-name run${run}` }, name) : null),
    h(
      "p",
      { class: "quiet" },
      compared
        ? `Answers to ${plural(questions.length, "held-out question")} before training and after step ${steps[1]}: ${share("before")} of the samples were right, now ${share("after")}. `
        : `${plural(questions.length, "question")}: ${share("after")} of the samples were right. `,
      "A question counts as right if at least half of its samples are.",
    ),
    h("div", { class: "chips" }, chips),
    list,
  );
}

function question(q, steps) {
  const sides = [
    [`step ${steps[0]}`, q.before],
    [steps.length > 1 ? `step ${steps[1]}` : "answers", q.after],
  ].filter(([, side]) => side);
  return h(
    "article",
    { class: "asked" },
    h("p", { class: "ask", dir: "auto" }, q.question),
    q.targets.some(Boolean) ? h("p", { class: "quiet target" }, "right: ", h("b", { dir: "auto" }, q.targets.join(" or "))) : null,
    h("div", { class: "sides" }, sides.map(([words, side]) => answers(words, side))),
  );
}

function answers(words, side) {
  return h(
    "div",
    { class: "side" },
    h("p", { class: "quiet" }, words, h("b", {}, `${percent(side.right)} right`)),
    h(
      "ul",
      {},
      side.answers.map(([count, ...said]) => h("li", {}, h("i", {}, `${count} ×`), given(said))),
      side.greedy ? h("li", {}, h("i", {}, "greedy"), given(side.greedy)) : null,
    ),
  );
}

function given([answer, stop, isRight]) {
  const text = answer ?? STOPS[stop] ?? "no answer";
  return h(
    "span",
    { class: isRight ? "good" : answer === null ? "quiet" : "bad", dir: "auto", title: text },
    isRight ? "✓ " : "✕ ",
    short(text, 90),
  );
}
