// A run, or two: what it is, its curves, which move while it trains, and the steps whose trees were kept.
import { drawCurves } from "./curves.js";
import { figure, h } from "./dom.js";
import { addressOf } from "./route.js";
import { seriesOf, valueAt } from "./series.js";
import { load } from "./source.js";

const EVERY = 2000;

export async function showRun(page, view) {
  const rows = view.runs.map(() => []);
  const curves = h("section", { class: "curves", "aria-label": "Curves" }),
    trees = h("section", { class: "trees", "aria-label": "Trees" });
  const notices = h("div", { class: "notices" }),
    more = { open: false, words: "" };
  page.replaceChildren(
    h(
      "div",
      { class: "runs" },
      view.runs.map((run, i) => about(run, i, view.runs.length)),
    ),
    settings(view.runs),
    notices,
    trees,
    curves,
  );

  // Only what is new is asked for; fewer rows than before mean that the run was resumed from an earlier step.
  async function read() {
    let changed = false;
    for (let run = 0; run < view.runs.length; run++) {
      const found = await load(`runs/${run}/metrics.json${view.live ? `?after=${rows[run].length}` : ""}`);
      if (found.rows.length || found.after !== rows[run].length) changed = true;
      rows[run].length = found.after;
      rows[run].push(...found.rows);
    }
    return changed;
  }
  function draw() {
    const all = rows.map(seriesOf);
    drawTrees(trees, view, all);
    drawCurves(curves, view, all, more);
  }
  async function refresh() {
    try {
      const changed = await read(),
        before = JSON.stringify(view.runs.map((run) => run.sections));
      if (view.live) view.runs = (await load("view.json")).runs;
      if (changed || before !== JSON.stringify(view.runs.map((run) => run.sections))) draw();
      notices.replaceChildren();
    } catch (error) {
      notices.replaceChildren(h("p", { class: "notice" }, error.message));
    }
  }
  await refresh();
  draw();
  const timer = view.live
    ? setInterval(() => {
        if (!document.hidden) refresh();
      }, EVERY)
    : null;
  return { leave: () => clearInterval(timer), keys: {} };
}

function about(run, number, count) {
  return h(
    "div",
    { class: `about run${number}` },
    h("h1", { class: count > 1 ? `run-name run${number}` : null }, run.name),
    h(
      "dl",
      {},
      run.facts.map(([words, value]) => h("div", {}, h("dt", {}, words), h("dd", {}, value))),
    ),
  );
}

// With two runs those that differ come first, and open.
function settings(runs) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))];
  if (!names.length) return null;
  const value = (run, name) => (name in run.settings ? String(run.settings[name]) : "–");
  const differ =
    runs.length > 1 ? names.filter((name) => value(runs[0], name) !== value(runs[1], name) && name !== "run") : [];
  const table = (shown) =>
    h(
      "div",
      { class: "table" },
      h(
        "table",
        {},
        h(
          "tbody",
          {},
          shown.map((name) =>
            h(
              "tr",
              {},
              h("th", {}, name),
              runs.map((run, i) => h("td", { class: `run${i}` }, value(run, name))),
            ),
          ),
        ),
      ),
    );
  return h(
    "div",
    { class: "settings" },
    runs.length > 1
      ? h(
          "details",
          { open: differ.length < 9 },
          h("summary", {}, differ.length ? `${differ.length} settings differ` : "Same settings"),
          table(differ),
        )
      : null,
    h("details", {}, h("summary", {}, `All ${names.length} settings`), table(names)),
  );
}

function drawTrees(box, view, all) {
  const keys = [
    ...new Map(view.runs.flatMap((run) => run.sections).map((section) => [section.key, section])).values(),
  ].sort((a, b) => (a.step ?? 0) - (b.step ?? 0));
  box.replaceChildren(
    h("h2", {}, "Trees"),
    keys.length
      ? h(
          "div",
          { class: "steps" },
          keys.map(({ key, label, step }) =>
            h(
              "a",
              { class: "step", href: addressOf(key) },
              h("b", {}, label),
              view.runs.map((run, i) => {
                const has = run.sections.some((section) => section.key === key),
                  reward = step === null ? null : valueAt(all[i], "reward/mean", step);
                return h("span", { class: `run${i}` }, !has ? "–" : reward === null ? "" : `reward ${figure(reward)}`);
              }),
            ),
          ),
        )
      : h("p", { class: "none" }, "No rollout trees are kept yet; train.trees_every says how often they are."),
  );
}
