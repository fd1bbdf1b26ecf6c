// A folder of runs: each a row, two can be chosen to stand side by side.
import { figure, h, percent } from "./dom.js";
import { load } from "./source.js";

export async function showList(page, view) {
  const chosen = new Set();
  const compare = h("a", { class: "compare", hidden: true }, "Show these two side by side");
  const facts = [...new Set(view.runs.flatMap((run) => run.facts.slice(0, 4).map(([words]) => words)))];
  const varied = facts.filter((words) => new Set(view.runs.map((run) => fact(run, words))).size > 1);
  const body = h("tbody");
  function draw() {
    body.replaceChildren(...view.runs.map(row));
  }
  function row(run, number) {
    const pick = h("input", {
      type: "checkbox",
      "aria-label": `compare ${run.name}`,
      checked: chosen.has(number),
      onchange: () => {
        if (pick.checked) chosen.add(number);
        else chosen.delete(number);
        compare.hidden = chosen.size !== 2;
        compare.setAttribute("href", `at/${[...chosen].sort().join("+")}/`);
      },
    });
    return h(
      "tr",
      {},
      h("td", {}, pick),
      h("td", {}, h("a", { class: "run", href: `at/${number}/` }, run.name), run.alarm ? h("span", { class: "bad" }, " alarm") : null),
      h("td", { "data-name": "success" }, run.success ? `${percent(run.success[0])} → ${percent(run.success[1])}` : "–"),
      h("td", { "data-name": "step" }, run.steps ? `${run.step} of ${run.steps}` : figure(run.step)),
      varied.map((words) => h("td", { "data-name": words }, fact(run, words))),
      h("td", { "data-name": "reward" }, figure(run.reward)),
    );
  }
  draw();
  page.replaceChildren(
    h("h1", {}, view.list),
    h("p", { class: "quiet" }, `${view.runs.length} runs, the newest first. Success is that of held-out questions, before training and now. Choose two runs to compare them.`, " ", compare),
    h(
      "div",
      { class: "table list" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h("tr", {}, ["", "run", "success", "step", ...varied, "reward"].map((words) => h("th", {}, words))),
        ),
        body,
      ),
    ),
  );
  const timer = setInterval(async () => {
    if (document.hidden) return;
    view.runs = (await load("view.json")).runs;
    draw();
  }, 5000);
  return { leave: () => clearInterval(timer), keys: {} };
}

const fact = (run, words) => run.facts.find(([name]) => name === words)?.[1] ?? "–";
