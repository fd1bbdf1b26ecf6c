// A run, or two: what it is, its curves, which move while it trains, and the steps whose trees were kept.
import { drawCurves } from "./curves.js";
import { duration, figure, h } from "./dom.js";
import { drawFailures } from "./failures.js";
import { drawInstructions } from "./instructions.js";
import { drawLearned } from "./learned.js";
import { learnMeanings } from "./names.js";
import { figures } from "./report.js";
import { addressOf } from "./route.js";
import { seriesOf, valueAt } from "./series.js";
import { load } from "./source.js";

const EVERY = 2000;

export async function showRun(page, view) {
  const rows = view.runs.map(() => []);
  const curves = h("section", { class: "curves", "aria-label": "Curves" }),
    trees = h("section", { class: "trees", "aria-label": "Trees" }),
    population = h("section", { class: "population", "aria-label": "Instructions" });
  const notices = h("div", { class: "notices" }),
    more = { open: false, words: "" };
  const alarms = h("div", { class: "alarms" }),
    progress = view.runs.map(() => h("p", { class: "progress" })),
    outcomes = h("section", { class: "learned", "aria-label": "Answers" });
  const learned = view.runs.map(() => ({ steps: [], questions: [], by: [], wrong: [], report: [] })),
    states = view.runs.map(() => ({})),
    evaluated = view.runs.map(() => null);
  page.replaceChildren(
    alarms,
    h(
      "div",
      { class: "runs" },
      view.runs.map((run, i) => about(run, i, view.runs.length, progress[i])),
    ),
    settings(view.runs),
    notices,
    outcomes,
    trees,
    curves,
    population,
  );

  // Only what is new is asked for; fewer rows than before mean that the run was resumed from an earlier step.
  async function read() {
    let changed = false;
    for (let run = 0; run < view.runs.length; run++) {
      const found = await load(`runs/${run}/metrics.json${view.live ? `?after=${rows[run].length}` : ""}`);
      if (found.rows.length || found.after !== rows[run].length) changed = true;
      rows[run].length = found.after;
      rows[run].push(...found.rows);
      learnMeanings(found.meanings);
      const known = rows[run].filter((row) => "eval/success" in row).length;
      if (known !== evaluated[run]) learned[run] = await load(`runs/${run}/learned.json`);
      evaluated[run] = known;
    }
    return changed;
  }
  function draw() {
    const all = rows.map(seriesOf);
    drawAlarms(alarms, view, rows);
    view.runs.forEach((run, i) => drawProgress(progress[i], view, run, rows[i]));
    outcomes.replaceChildren();
    view.runs.forEach((run, i) => {
      const name = view.runs.length > 1 ? run.name : null;
      outcomes.append(...figures(learned[i].report));
      drawLearned(outcomes, learned[i], name, i, states[i]);
      drawFailures(outcomes, rows[i], learned[i], name, i);
    });
    drawTrees(trees, view, all);
    drawCurves(curves, view, all, more);
  }
  async function refresh() {
    try {
      const changed = await read(),
        before = JSON.stringify(view.runs.map((run) => run.sections));
      if (view.live) view.runs = (await load("view.json")).runs;
      if (changed || before !== JSON.stringify(view.runs.map((run) => run.sections))) draw();
      if (changed) await drawInstructions(population, view.runs);
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

// How far a run is, and how long the rest may take at the speed of its last steps.
function drawProgress(box, view, run, rows) {
  const trained = rows.filter((row) => "time/step" in row);
  if (run.kind !== "run" || !trained.length) return;
  const at = trained.at(-1).step,
    left = (run.steps ?? at) - at;
  const seconds = left * d3.mean(trained.slice(-10), (row) => row["time/step"]);
  const rest = seconds > 90 ? `${Math.round(seconds / 60)} min` : duration(seconds);
  box.replaceChildren(
    run.steps ? h("progress", { max: run.steps, value: at }) : "",
    h("b", {}, run.steps ? `step ${at} of ${run.steps}` : `step ${at}`),
    view.live && left > 0 && seconds > 0 ? ` about ${rest} of training left` : "",
  );
}

const ALARMS = {
  "alarm/entropy_below": "Policy entropy is below its band: the policy may stop exploring.",
  "alarm/entropy_above": "Policy entropy is above its band: the policy may become random.",
};

function drawAlarms(box, view, rows) {
  const found = view.runs.flatMap((run, i) => {
    const trained = rows[i].filter((row) => "alarm/entropy" in row),
      last = trained.at(-1);
    const name = Object.keys(ALARMS).find((side) => last?.[side] === 1) ?? (last?.["alarm/entropy"] === 1 ? "alarm/entropy" : null);
    if (!name) return [];
    let first = trained.length - 1;
    while (first > 0 && trained[first - 1]["alarm/entropy"] === 1) first--;
    const who = view.runs.length > 1 ? `${run.name}: ` : "";
    return [`${who}${ALARMS[name] ?? "Policy entropy is outside of its band."} It has been there since step ${trained[first].step}.`];
  });
  box.replaceChildren(...found.map((words) => h("p", { class: "notice alarm", role: "alert" }, words)));
}

function about(run, number, count, progress) {
  return h(
    "div",
    { class: `about run${number}` },
    h("h1", { class: count > 1 ? `run-name run${number}` : null }, run.name),
    h(
      "dl",
      {},
      run.facts.map(([words, value]) => h("div", {}, h("dt", {}, words), h("dd", {}, value))),
    ),
    progress,
    run.evaluations.map(({ name, key, report }) =>
      h("div", { class: "evaluated" }, evaluationName(name, key), figures(report)),
    ),
  );
}

// A server shows the evaluation at an address of its own; a file has the figures alone.
function evaluationName(name, key) {
  if (document.getElementById("data")) return h("b", {}, name);
  return h("a", { href: location.pathname.includes("/at/") ? `../${key}/` : `at/${key}/` }, `${name} →`);
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
