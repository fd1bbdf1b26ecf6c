// A group: its question and numbers, the tree, and beside it the chosen path. With two runs, their trees one above the other.
import { choices, MEASURES, ZOOMS } from "./choices.js";
import { colouring, MODES } from "./colour.js";
import { decisionTable } from "./decisions.js";
import { h } from "./dom.js";
import { groupFacts } from "./facts.js";
import { layout } from "./layout.js";
import { legend } from "./legend.js";
import { thresholdOf } from "./marks.js";
import { beside, leafThrough, mostTelling, neighbour, nextBranch } from "./moves.js";
import { drawPanel } from "./panel.js";
import { note } from "./route.js";
import { loadOnce, questionAddress, sectionAddress } from "./source.js";
import { drawTree } from "./tree.js";

// The question and its counterparts in the other runs: [{run, index, question}].
async function partners(view, at) {
  const own = await loadOnce(questionAddress(at.run, at.section, at.index));
  const found = [{ run: at.run, index: at.index, question: own }];
  for (let run = 0; run < view.runs.length; run++) {
    if (run === at.run || !own.id || !view.runs[run].sections.some((section) => section.key === at.section)) continue;
    const same = (await loadOnce(sectionAddress(run, at.section))).find((one) => one.id === own.id);
    if (same)
      found.push({ run, index: same.index, question: await loadOnce(questionAddress(run, at.section, same.index)) });
  }
  return found.sort((a, b) => a.run - b.run);
}

export async function showGroup(page, view, at) {
  const trees = await partners(view, at);
  const state = {
    mode: at.query.get("colour") in MODES ? at.query.get("colour") : "entropy",
    measure: MEASURES.includes(at.query.get("by")) ? at.query.get("by") : "tokens",
    zoom: 0,
    run: at.run,
    path: at.query.has("path") ? Number(at.query.get("path")) : null,
  };
  const panel = h("aside", { class: "panel", "aria-label": "Chosen path", tabindex: 0 });
  const boxes = trees.map(() => h("div", { class: "tree" })),
    keyLine = h("div", { class: "legend" }),
    buttons = h("div", { class: "choices" });
  const drawn = new Map();
  const first = trees[0].question;
  page.replaceChildren(
    h(
      "div",
      { class: "group" },
      h(
        "div",
        { class: "group-main" },
        h(
          "div",
          { class: "group-head" },
          h("h1", { dir: "auto" }, first.question),
          first.targets.some(Boolean)
            ? h(
                "p",
                { class: "target" },
                h("span", {}, first.targets.length > 1 ? "targets " : "target "),
                h("b", { dir: "auto" }, first.targets.join(" · ")),
              )
            : null,
        ),
        buttons,
        trees.map(({ run, question }, i) =>
          h(
            "section",
            { class: `tree-card run${run}` },
            view.runs.length > 1 ? h("h3", { class: `run-name run${run}` }, view.runs[run].name) : null,
            groupFacts(question, view.success),
            boxes[i],
          ),
        ),
        keyLine,
        trees.map(({ run, question }) =>
          decisionTable(question, thresholdOf(view.runs[run].rules), (node) => choose(run, null, node), {
            name: trees.length > 1 ? view.runs[run].name : "",
            open: trees.length === 1 && innerWidth > 1080,
          }),
        ),
      ),
      panel,
    ),
  );

  function choose(run, path, node = null) {
    const { question } = trees.find((tree) => tree.run === run),
      plan = drawn.get(run);
    if (node !== null) {
      const current = run === state.run ? state.path : null;
      path = current !== null && plan.walks.get(current)?.includes(node) ? current : leafThrough(question, plan, node);
    }
    state.run = run;
    state.path = path;
    note("path", path);
    for (const [other, { choose: mark }] of drawn) mark(other === run ? path : null, other === run ? node : null);
    const options = {
      tau: thresholdOf(view.runs[run].rules),
      success: view.success,
      colours: plan.colours,
      onChoose: (p) => choose(run, p),
    };
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
        tau: thresholdOf(view.runs[run].rules),
        success: view.success,
        colours,
        measure: state.measure,
        zoom: ZOOMS[state.zoom],
        depth,
        onChoose: (path, node = null) => choose(run, path, node),
      });
      drawn.set(run, { ...made, colours });
    });
    const shown = drawn.get(state.run);
    buttons.replaceChildren(...choices(state, shown, update));
    legend(
      keyLine,
      shown?.colours,
      thresholdOf(view.runs[state.run].rules),
      trees.some(({ question }) => question.refused),
    );
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
    resize: () => {
      if (innerWidth !== width) {
        width = innerWidth;
        draw();
      }
    },
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

const after = (all, one) => all[(all.indexOf(one) + 1) % all.length];

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
