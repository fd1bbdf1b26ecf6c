// The population of a run: each instruction under the one that it came from, with its worth over time and its text.
import { chart } from "./chart.js";
import { h, number, plural, signed } from "./dom.js";
import { load } from "./source.js";

export async function drawInstructions(box, runs) {
  const found = await Promise.all(runs.map((_, run) => load(`runs/${run}/instructions.json`)));
  box.replaceChildren(
    ...(found.some((members) => members.length)
      ? [
          h("h2", {}, "Instructions"),
          h(
            "p",
            { class: "none" },
            "Each stands under the one that it came from. Its worth is the mean credit of its groups, in units of reward, with the 95 % interval.",
          ),
        ]
      : []),
    ...found.map((members, run) => h("div", { class: `members run${run}` }, descent(members, null, 0, run))),
  );
}

function descent(members, parent, depth, run) {
  return members
    .filter((member) => member.parent === parent)
    .flatMap((member) => [card(member, depth, run), ...descent(members, member.id, depth + 1, run)]);
}

function card(member, depth, run) {
  const known = member.points.filter((point) => point[1] !== null);
  const last = member.points.at(-1),
    worth = known.length ? known.at(-1) : null;
  const from = member.parent === null ? "of the start" : `from ${member.parent}, joined after step ${member.born}`;
  const words = [
    from,
    member.left === null ? null : `left after step ${member.left}`,
    plural(last[5], "group"),
    `w ${signed(last[4])}`,
    worth ? `worth ${signed(worth[1])} (${number(worth[2])} to ${number(worth[3])})` : "worth not known yet",
  ];
  return h(
    "article",
    { class: `member${member.left === null ? "" : " gone"}`, "data-instruction": member.id, "data-depth": Math.min(depth, 6) },
    h(
      "div",
      {},
      h("h3", {}, `Instruction ${member.id}`, member.best ? h("b", { class: "best" }, " best") : null),
      h("p", { class: "facts" }, words.filter(Boolean).map((text) => h("span", {}, text))),
      h("pre", {}, member.text || "(the task's own system text alone)"),
    ),
    known.length ? chart(`worth of ${member.id}`, [{ run, points: known }], [], () => {}) : null,
  );
}
