// A group: its question and numbers, the tree, and beside it the chosen path. With two runs, their trees one above the other.
import { figure, h, number, plural, signed } from "./dom.js";
import { MODES, colouring } from "./colour.js";
import { decisionTable } from "./decisions.js";
import { layout } from "./layout.js";
import { legend } from "./legend.js";
import { slots, thresholdOf } from "./marks.js";
import { drawPanel } from "./panel.js";
import { addressOf, go, note } from "./route.js";
import { loadOnce, questionAddress, sectionAddress } from "./source.js";
import { drawTree } from "./tree.js";

const MEASURES = ["tokens", "turns"];
const ZOOMS = [1, 1.5, 2, 3, 5, 8];

// The question and its counterparts in the other runs: [{run, index, question}].
async function partners(view, at) {
  const own = await loadOnce(questionAddress(at.run, at.section, at.index));
  const found = [{ run: at.run, index: at.index, question: own }];
  for (let run = 0; run < view.runs.length; run++) {
    if (run === at.run || !own.id || !view.runs[run].sections.some((section) => section.key === at.section)) continue;
    const same = (await loadOnce(sectionAddress(run, at.section))).find((one) => one.id === own.id);
    if (same) found.push({ run, index: same.index, question: await loadOnce(questionAddress(run, at.section, same.index)) });
  }
  return found.sort((a, b) => a.run - b.run);
}

export async function showGroup(page, view, at) {
  const trees = await partners(view, at);
  const state = {
    mode: at.query.get("colour") in MODES ? at.query.get("colour") : "entropy",
    measure: MEASURES.includes(at.query.get("by")) ? at.query.get("by") : "tokens",
    zoom: 0, run: at.run, path: at.query.has("path") ? Number(at.query.get("path")) : null,
  };
  const panel = h("aside", { class: "panel", "aria-label": "Chosen path", tabindex: 0 });
  const boxes = trees.map(() => h("div", { class: "tree" })), keyLine = h("div", { class: "legend" }), buttons = h("div", { class: "choices" });
  const drawn = new Map();
  const first = trees[0].question;
  page.replaceChildren(
    h("div", { class: "group" },
      h("div", { class: "group-main" },
        h("div", { class: "group-head" }, h("h1", { dir: "auto" }, first.question),
          h("p", { class: "target" }, h("span", {}, first.targets.length > 1 ? "targets " : "target "), h("b", { dir: "auto" }, first.targets.join(" · ") || "–"))),
        buttons,
        trees.map(({ run, question }, i) => h("section", { class: `tree-card run${run}` },
          view.runs.length > 1 ? h("h3", { class: `run-name run${run}` }, view.runs[run].name) : null, numbers(question, view.success), boxes[i])),
        keyLine, trees.map(({ run, question }) => decisionTable(question, thresholdOf(view.runs[run].rules), (node) => choose(run, null, node), { name: trees.length > 1 ? view.runs[run].name : "", open: trees.length === 1 && innerWidth > 1080 }))),
      panel));

  function choose(run, path, node = null) {
    const { question } = trees.find((tree) => tree.run === run), plan = drawn.get(run);
    if (node !== null) {
      const current = run === state.run ? state.path : null;
      path = current !== null && plan.walks.get(current)?.includes(node) ? current : leafThrough(question, plan, node);
    }
    state.run = run;
    state.path = path;
    note("path", path);
    for (const [other, { choose: mark }] of drawn) mark(other === run ? path : null, other === run ? node : null);
    const options = { tau: thresholdOf(view.runs[run].rules), success: view.success, colours: plan.colours, onChoose: (p) => choose(run, p) };
    drawPanel(panel, question, plan, path, options);
    if (node !== null) reveal(panel, node);
    else panel.scrollTop = 0;
  }

  function draw() {
    const before = state.path;
    const depth = Math.max(...trees.map(({ question }) => layout(question, state.measure).depth)); // one scale for both
    trees.forEach(({ run, question }, i) => {
      if (!question.leaves.length) {
        boxes[i].replaceChildren(h("p", { class: "none" }, "No path of this question had ended."));
        return;
      }
      const colours = colouring(question, state.mode);
      const made = drawTree(boxes[i], question, {
        tau: thresholdOf(view.runs[run].rules), success: view.success, colours, measure: state.measure, zoom: ZOOMS[state.zoom], depth,
        onChoose: (path, node = null) => choose(run, path, node),
      });
      drawn.set(run, { ...made, colours });
    });
    const shown = drawn.get(state.run);
    buttons.replaceChildren(...choices(state, shown, update));
    legend(keyLine, shown?.colours, thresholdOf(view.runs[state.run].rules));
    if (!shown) return;
    const known = shown.rows.some((leaf) => leaf.path === before);
    choose(state.run, known ? before : mostTelling(shown.rows));
  }

  function update(changes) {
    Object.assign(state, changes);
    note("colour", state.mode);
    note("by", state.measure);
    draw();
  }
  draw();
  let width = innerWidth;
  return {
    resize: () => { if (innerWidth !== width) { width = innerWidth; draw(); } },
    keys: {
      ArrowDown: () => choose(state.run, beside(drawn.get(state.run), state.path, 1)),
      ArrowUp: () => choose(state.run, beside(drawn.get(state.run), state.path, -1)),
      b: () => nextBranch(trees, drawn, state, choose, panel),
      c: () => update({ mode: after(Object.keys(MODES), state.mode) }),
      x: () => update({ measure: after(MEASURES, state.measure) }),
      "+": () => update({ zoom: Math.min(ZOOMS.length - 1, state.zoom + 1) }),
      "-": () => update({ zoom: Math.max(0, state.zoom - 1) }),
      ArrowRight: () => neighbour(view, at, 1),
      ArrowLeft: () => neighbour(view, at, -1),
    },
  };
}

// A path that branched off shows most; else the first.
const mostTelling = (rows) => (rows.find((leaf) => leaf.origin === "branch" || leaf.origin === "resampled") ?? rows[0]).path;
const leafThrough = (question, plan, node) => (plan.rows.find((leaf) => leaf.path === question.nodes[node].path && plan.walks.get(leaf.path).includes(node))
  ?? plan.rows.find((leaf) => plan.walks.get(leaf.path).includes(node))).path;
const after = (all, one) => all[(all.indexOf(one) + 1) % all.length];

function beside({ rows }, path, by) {
  const at = rows.findIndex((leaf) => leaf.path === path);
  return rows[Math.max(0, Math.min(rows.length - 1, at + by))].path;
}

function nextBranch(trees, drawn, state, choose, panel) {
  const { question } = trees.find((tree) => tree.run === state.run);
  const points = question.nodes.flatMap((node, id) => (node.decision?.branches ? [id] : []));
  if (points.length) choose(state.run, null, points[(points.indexOf(Number(panel.dataset.node)) + 1) % points.length]);
}

async function neighbour(view, at, by) {
  const all = await loadOnce(sectionAddress(at.run, at.section)), place = all.findIndex((one) => one.index === at.index);
  const next = all[place + by];
  if (next) go(addressOf(at.section, `${at.run}.${next.index}`, { colour: at.query.get("colour"), by: at.query.get("by") }));
}

function reveal(panel, node) {
  panel.dataset.node = node;
  const card = panel.querySelector(`[data-card="${node}"]`);
  if (!card) return;
  const top = card.offsetTop - panel.clientHeight / 4;
  if (panel.scrollHeight > panel.clientHeight + 4) panel.scrollTop = top;
  else card.scrollIntoView({ block: "center" });
  for (const other of panel.querySelectorAll(".revealed")) other.classList.remove("revealed");
  card.classList.add("revealed");
}

function numbers(question, success) {
  const fact = (value, words, title) => h("span", { title }, h("b", {}, value), ` ${words}`);
  const shared = question.flat ? Math.round(100 * (1 - question.distinct / question.flat)) : 0;
  return h("div", { class: "facts" },
    fact(`${number(question.reward)} ± ${number(question.spread)}`, "reward", "mean and standard deviation over the paths"),
    fact(`${question.solved} of ${question.leaves.length}`, "solved", `reward of ${success} or more`),
    h("span", {}, slots(question.origins), " ", h("b", {}, `m ${question.m}`), " from the question"),
    fact(figure(question.branches), question.branches === 1 ? "branch" : "branches"),
    question.gap === null ? null : fact(`${signed(question.gap)} nats`, "gap", "H_root − H_tool of the probes, which decided m"),
    fact(figure(question.calls), "tool calls", "executed ones; a shared one counts once"),
    fact(figure(question.distinct), `tokens, ${shared} % shared`, `${plural(question.flat, "token")} if each path had its own`),
    question.id ? h("span", { class: "id" }, question.id) : null);
}

function choices(state, shown, update) {
  const group = (words, all, current, set) => h("div", { class: "choice", role: "group", "aria-label": words }, h("span", {}, words),
    all.map(([key, label]) => h("button", { "aria-pressed": String(key === current), onclick: () => set(key) }, label)));
  return [
    group("tokens by", Object.entries(MODES).map(([key, { label }]) => [key, label]), state.mode, (mode) => update({ mode })),
    group("depth in", MEASURES.map((key) => [key, key]), state.measure, (measure) => update({ measure })),
    h("div", { class: "choice", role: "group", "aria-label": "zoom" }, h("span", {}, "zoom"),
      h("button", { "aria-label": "narrower", disabled: state.zoom === 0, onclick: () => update({ zoom: state.zoom - 1 }) }, "−"),
      h("button", { "aria-label": "wider", disabled: state.zoom === ZOOMS.length - 1, onclick: () => update({ zoom: state.zoom + 1 }) }, "+")),
    shown && !shown.colours.known ? h("span", { class: "hint" }, `no ${state.mode} is kept for this question`) : null,
  ].filter(Boolean);
}
