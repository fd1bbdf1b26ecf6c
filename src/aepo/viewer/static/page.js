"use strict";
// All text comes from models and tools: it enters the page as text nodes and attributes only, never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const ORIGINS = { probe: "probe", global: "global", branch: "branch", resampled: "resampled", leftover: "left-over" };
const COLOURS = { probe: "probe", global: "policy", branch: "branch", resampled: "branch", leftover: "quiet" };
const begunInside = (leaf) => leaf.origin === "branch" || leaf.origin === "resampled";
const STOPPED = {
  threshold: "P is not above the threshold", penalty: "the penalty for branches in a row",
  pacing: "the pacing of the budget", budget: "no slots were left",
};
const SVG = "http://www.w3.org/2000/svg";
const state = { question: 0, path: 0 };

function make(space, tag, attributes, children) {
  const element = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}
const h = (tag, attributes = {}, ...children) => make(null, tag, attributes, children);
const s = (tag, attributes = {}, ...children) => make(SVG, tag, attributes, children);
const number = (x, digits = 2) => (x === null || x === undefined ? "–" : x.toFixed(digits).replace("-", "−"));
const signed = (x) => (x > 0 ? "+" : "") + number(x);
const short = (text, size) => (text.length > size ? text.slice(0, size - 1) + "…" : text);
const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;
const mean = (xs) => (xs.length ? xs.reduce((a, b) => a + b, 0) / xs.length : null);

// One scale of entropy for the whole page: 98 % of all tokens lie below its top.
const TOP = (() => {
  const all = DATA.questions.flatMap((q) => q.nodes.flatMap((n) => n.entropies)).sort((a, b) => a - b);
  return Math.max(0.5, all.length ? all[Math.floor(0.98 * (all.length - 1))] : 0);
})();
const heat = (entropy) => 0.7 * Math.min(1, Math.max(0, entropy / TOP));

function mark(reward) {
  const [kind, sign] = reward === null ? ["", "?"] : reward >= DATA.success ? ["good", "✓"]
    : reward > 0 ? ["part", "~"] : reward < 0 ? ["bad", "✕"] : ["", ""];
  return h("span", { class: `mark ${kind}`, title: reward === null ? "no reward yet" : `reward ${number(reward)}` }, sign);
}

function walk(q, node) {
  const nodes = [];
  for (let at = node; at !== null; at = q.nodes[at].parent) nodes.unshift(at);
  return nodes;
}

// ---- the list ----------------------------------------------------------------------------------------------------

function drawList() {
  const words = document.getElementById("search").value.trim().toLowerCase();
  const step = document.getElementById("step").value;
  const rows = DATA.questions.map((q, i) => [q, i]).filter(([q]) => (step === "" || String(q.step) === step)
    && (!words || [q.question, q.id, ...q.targets].some((t) => t.toLowerCase().includes(words))));
  const list = document.getElementById("list");
  list.replaceChildren(...rows.map(([q, i]) => h("button", {
    "aria-current": String(i === state.question), "data-question": i, onclick: () => choose(i),
  },
    h("span", { class: "ask", dir: "auto" }, q.question),
    h("span", { class: "marks" }, q.leaves.map((leaf) => mark(leaf.reward))),
    h("span", { class: "facts" }, h("b", { title: "share of paths that solved it" }, `${Math.round(100 * q.solved / Math.max(1, q.leaves.length))} %`),
      h("span", {}, `step ${q.step}`), h("span", { title: "started from the question, as the budget rule said" }, `m ${q.m}`),
      h("span", {}, plural(q.branches, "branch", "branches")), h("span", { title: "executed tool calls, shared ones once" }, plural(q.calls, "call"))))));
  if (!rows.length) list.append(h("p", { class: "none" }, "No question matches."));
}

function choose(question, path) {
  const q = DATA.questions[question];
  if (question !== state.question) document.getElementById("tree").scrollTop = 0;
  state.question = question;
  state.path = path !== undefined && q.leaves.some((l) => l.path === path) ? path : firstPath(q);
  history.replaceState(null, "", `#q=${question}&path=${state.path}`);
  for (const b of document.querySelectorAll("#list button")) b.setAttribute("aria-current", String(+b.dataset.question === question));
  document.querySelector('#list [aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  drawTree();
  drawCharts();
}

// A path that branched off shows most; else the first.
const firstPath = (q) => (q.leaves.find(begunInside) ?? q.leaves[0] ?? { path: 0 }).path;

// ---- the graph ---------------------------------------------------------------------------------------------------

// Rows from top to bottom: a path, then the paths that left it, the latest fork first, so that no lines cross.
function rowsOf(q) {
  const leaves = q.leaves, known = new Set(leaves.map((l) => l.path)), rows = [];
  const forkDepth = (l) => walk(q, l.node).filter((n) => q.nodes[n].path !== l.path).length;
  const below = (leaf) => {
    rows.push(leaf);
    leaves.filter((l) => l.parent === leaf.path && l !== leaf).sort((a, b) => forkDepth(b) - forkDepth(a)).forEach(below);
  };
  leaves.filter((l) => l.parent === null || !known.has(l.parent)).forEach(below);
  return rows;
}

function drawGraph(q, width) {
  const rowHeight = 30, left = 112, right = 240, observation = 16, bar = 14, trunk = left + 12;
  const rows = rowsOf(q), walks = new Map(rows.map((l) => [l, walk(q, l.node)]));
  const chosen = rows.find((l) => l.path === state.path), onPath = new Set(chosen ? walks.get(chosen) : []);
  const policyTokens = (nodes) => nodes.reduce((t, n) => t + (q.nodes[n].kind === "policy" ? q.nodes[n].size : 0), 0);
  const observations = (nodes) => nodes.filter((n) => q.nodes[n].kind === "observation").length;
  const longest = Math.max(1, ...[...walks.values()].map(policyTokens));
  const most = Math.max(0, ...[...walks.values()].map(observations));
  const total = Math.max(width, left + right + 24 + most * (observation + 4) + 160);
  const scale = (total - left - right - 24 - most * (observation + 4)) / longest;
  const ends = new Map(), drawn = new Map();
  const svg = s("svg", { width: total, height: rows.length * rowHeight + 16, role: "img", "aria-label": "Tree of trajectories" });
  const links = s("g"), bars = s("g"), forks = s("g");

  rows.forEach((leaf, index) => {
    const y = 8 + index * rowHeight + rowHeight / 2;
    const group = s("g", { class: "row" + (leaf === chosen ? " chosen" : ""), onclick: () => choose(state.question, leaf.path) },
      s("rect", { class: "band", x: 0, y: y - rowHeight / 2, width: total, height: rowHeight }),
      s("text", { x: 12, y: y + 4, class: "number" }, String(leaf.path)),
      s("text", { x: 34, y: y + 4, style: `fill: var(--${COLOURS[leaf.origin]})` }, ORIGINS[leaf.origin]));
    bars.append(group);
    for (const id of walks.get(leaf)) {
      if (drawn.has(id)) continue;
      const node = q.nodes[id], start = node.parent === null ? trunk : ends.get(node.parent);
      const from = node.parent === null ? y : drawn.get(node.parent);
      drawn.set(id, y);
      if (node.kind === "prompt") { ends.set(id, trunk); continue; }
      const dim = onPath.has(id) ? "" : " dim";
      // Where a turn was split a path began before the call.
      if (from !== y && q.nodes[node.parent].kind === "policy") forks.append(s("circle", { class: "fork" + dim, cx: start, cy: from, r: 5 },
        s("title", {}, `path ${leaf.path} makes this call anew`)));
      if (from !== y) links.append(s("path", {
        class: "link" + (begunInside(leaf) ? " branch" : "") + dim,
        d: `M${start} ${from}V${y - 7}q0 7 7 7h2`,
      }));
      const x = start + (from !== y || node.parent === 0 ? 9 : 2);
      const show = (event) => { event.stopPropagation(); choose(state.question, onPath.has(id) ? state.path : leaf.path); reveal(id); };
      if (node.kind === "policy") {
        const w = Math.max(2, node.size * scale);
        ends.set(id, x + w);
        group.append(cells(node, x, y - bar / 2, w, bar, dim, show));
      } else {
        ends.set(id, x + observation);
        const failed = node.result && node.result.status !== "ok";
        group.append(s("rect", { class: "observation" + (failed ? " failed" : "") + dim, x, y: y - bar / 2, width: observation, height: bar, rx: 2, onclick: show },
          s("title", {}, summary(node))));
        if (node.decision?.branches) forks.append(s("circle", { class: "fork" + dim, cx: x + observation, cy: y, r: 5 }, s("title", {}, summary(node))));
      }
    }
    const x = total - right + 16;
    group.append(s("text", { x, y: y + 4, class: "number", "text-anchor": "start" }, number(leaf.reward)),
      s("text", { x: x + 50, y: y + 4, class: leaf.error ? "error" : leaf.answer === null ? "quiet" : "" },
        leaf.error ? "✕ broken format" : leaf.answer === null ? `no answer (${leaf.stop})` : short(leaf.answer, 22),
        s("title", {}, leaf.error ?? leaf.answer ?? "")));
  });
  svg.append(bars, links, forks);
  return svg;
}

function cells(node, x, y, width, height, dim, onclick) {
  const count = Math.min(node.entropies.length, Math.max(1, Math.floor(width / 3)));
  const group = s("g", { class: dim.trim(), onclick }, s("title", {}, `${plural(node.size, "token")}, mean entropy ${number(mean(node.entropies))} nats`),
    s("rect", { class: "policy", x, y, width, height, rx: 2 }));
  for (let i = 0; i < count; i++) {
    const part = node.entropies.slice(Math.floor(i * node.entropies.length / count), Math.floor((i + 1) * node.entropies.length / count));
    const opacity = heat(mean(part)) / 0.7;
    if (opacity > 0.03) group.append(s("rect", { class: "cell", x: x + i * width / count, y, width: width / count + 0.2, height, opacity: opacity.toFixed(2) }));
  }
  return group;
}

function summary(node) {
  const result = node.result ? `${node.result.status}, ${number(node.result.seconds)} s` : "observation", d = node.decision;
  return d ? `${result}\nH ${number(d.entropy)}  ΔH ${signed(d.delta)}  l ${d.consecutive}  P ${number(d.probability)}\n`
    + (d.branches ? `branched: ${plural(d.branches, "new path")}` : `did not branch: ${STOPPED[d.stopped_by] ?? d.stopped_by ?? ""}`) : result;
}

// ---- the chosen path, to read ------------------------------------------------------------------------------------

function drawTree() {
  const q = DATA.questions[state.question], article = document.getElementById("tree");
  const saved = q.flat ? Math.round(100 * (1 - q.distinct / q.flat)) : 0;
  const fact = (value, words, title) => h("span", { title }, h("b", {}, value), " " + words);
  article.replaceChildren(
    h("h2", { dir: "auto" }, q.question),
    h("p", { class: "target" }, h("span", { class: "quiet" }, "target "), h("b", { dir: "auto" }, q.targets.join(" / ") || "–")),
    h("div", { class: "facts-row" },
      fact(q.step, "step"), fact(`${q.solved} of ${q.leaves.length}`, "solved", `reward of ${DATA.success} or more`), fact(number(q.reward), "mean reward"),
      fact(q.m, "global samples (m)"), fact(q.branches, "branches"), q.resampled ? fact(q.resampled, "resampled calls") : null,
      fact(q.leftover, "left-over starts"), fact(q.calls, "executed calls"),
      fact(q.distinct, `distinct tokens, ${saved} % shared`), q.id ? fact(q.id, "id") : null),
    h("div", { id: "graph" }), h("div", { id: "path" }));
  const graph = document.getElementById("graph");
  graph.append(drawGraph(q, graph.clientWidth));
  drawPath(q);
}

function drawPath(q) {
  const leaf = q.leaves.find((l) => l.path === state.path), box = document.getElementById("path");
  if (!leaf) return;
  const users = (id) => q.leaves.filter((l) => walk(q, l.node).includes(id)).length;
  box.replaceChildren(
    h("div", { class: "path-title" }, h("h3", {}, `Path ${leaf.path}`), h("span", { class: `badge ${leaf.origin}` }, ORIGINS[leaf.origin]),
      h("span", { class: "quiet" }, leaf.parent !== null ? `left path ${leaf.parent}` : "started at the question", `, root entropy ${number(leaf.root)} nats`)),
    ...walk(q, leaf.node).map((id) => card(q, id, users(id), leaf)),
    h("div", { class: "node end" }, h("div", { class: "outcome" }, mark(leaf.reward),
      leaf.answer !== null ? h("span", { class: "answer", dir: "auto" }, leaf.answer) : h("span", { class: "quiet" }, "no answer"),
      h("span", { class: "quiet" }, `reward ${number(leaf.reward)}, stopped by ${leaf.stop.replace("_", " ")}`),
      leaf.error ? h("span", { class: "badge bad" }, leaf.error) : null)));
}

function card(q, id, users, leaf) {
  const node = q.nodes[id], text = h("pre", { tabindex: 0 });
  const facts = [plural(node.size, "token")];
  if (node.kind === "policy") {
    if (node.entropies.length) facts.push(`mean entropy ${number(mean(node.entropies))}`);
    if (node.call) facts.push(`calls ${node.call.name}` + (node.call.error ? ` (${node.call.error})` : ""));
    const single = node.pieces.length === node.entropies.length;
    node.pieces.forEach((piece, i) => {
      const entropy = single ? node.entropies[i] : mean(node.entropies);
      text.append(h("span", entropy === null ? {} : { style: `background: rgb(var(--heat) / ${heat(entropy).toFixed(3)})`, title: `${number(entropy, 3)} nats` }, piece));
    });
  } else {
    text.append(node.pieces.join("").replace(/^\n+|\n+$/g, ""));
    if (node.result) facts.push(`status ${node.result.status.replace("_", " ")}`, `${number(node.result.seconds)} s`);
  }
  if (users > 1) facts.push(`shared by ${users} paths`);
  const caller = node.kind === "observation" && node.parent !== null ? q.nodes[node.parent].call : null;
  const name = { prompt: "Prompt", policy: "Policy", observation: caller ? `Result of ${caller.name}` : "Observation" }[node.kind];
  return h("section", { class: `node ${node.kind}` + (node.path !== leaf.path && node.kind !== "prompt" ? " shared" : ""), id: `node-${id}` },
    h("div", { class: "head" }, h("b", {}, name), facts.map((f) => h("span", {}, f))), text, node.decision ? decision(q, id, node.decision) : null,
    begunAt(q, id, "resampled").length
      ? h("div", { class: "decision" }, h("span", { class: "quiet" }, "the call that follows was made anew"), pathLinks(begunAt(q, id, "resampled"))) : null);
}

// Other paths than the one shown that began right after a node.
const begunAt = (q, id, origin) => q.leaves.filter((l) => l.origin === origin && l.path !== state.path && forkOf(q, l) === id);
const pathLinks = (leaves) => leaves.map((l) => h("button", { onclick: () => choose(state.question, l.path) }, `→ path ${l.path}`));

function decision(q, id, d) {
  const value = (sign, words) => h("span", { class: "value" }, h("i", {}, sign), " " + words);
  const own = q.leaves.find((l) => l.path === state.path);
  return h("div", { class: "decision" },
    value("H", number(d.entropy)), value("ΔH", signed(d.delta)), value("l", String(d.consecutive)), value("P", number(d.probability)),
    h("span", { class: "bar", title: `P ${number(d.probability)}` }, h("i", { style: `width: ${100 * Math.min(1, Math.max(0, d.probability))}%` })),
    d.branches ? h("span", { class: "badge branch" }, `branched × ${d.branches}`)
      : h("span", { class: "quiet" }, `did not branch: ${STOPPED[d.stopped_by] ?? d.stopped_by ?? "–"}`),
    own?.origin === "branch" && forkOf(q, own) === id ? h("span", { class: "quiet" }, "this path began here") : null,
    pathLinks(begunAt(q, id, "branch")));
}

// The last node that a path shares with the one it left.
function forkOf(q, leaf) {
  const inherited = walk(q, leaf.node).filter((n) => q.nodes[n].path !== leaf.path);
  return inherited.length ? inherited[inherited.length - 1] : null;
}

function reveal(id) {
  const node = document.getElementById(`node-${id}`);
  if (!node) return;
  node.scrollIntoView({ block: "center" });
  node.classList.add("flash");
  setTimeout(() => node.classList.remove("flash"), 900);
}

// ---- metrics, legend, start --------------------------------------------------------------------------------------

function drawCharts() {
  const box = document.getElementById("metrics"), now = DATA.questions[state.question].step;
  box.hidden = !DATA.charts.length;
  document.getElementById("charts").replaceChildren(...DATA.charts.map(({ name, points }) => {
    const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
    const [x0, x1, y0, y1] = [xs[0], xs[xs.length - 1], Math.min(0, ...ys), Math.max(0, ...ys)];
    const X = (x) => 200 * (x - x0) / Math.max(1e-12, x1 - x0), Y = (y) => 54 - 50 * (y - y0) / Math.max(1e-12, y1 - y0);
    const here = points.find((p) => p[0] === now) ?? points[points.length - 1];
    return h("figure", {}, h("figcaption", {}, h("span", {}, name), h("b", { title: `at step ${here[0]}` }, figure(here[1]))),
      s("svg", { viewBox: "0 0 200 58", preserveAspectRatio: "none", role: "img", "aria-label": `${name} from ${figure(ys[0])} to ${figure(ys[ys.length - 1])}` },
        s("line", { class: "axis", x1: 0, x2: 200, y1: 56, y2: 56 }),
        now >= x0 && now <= x1 ? s("line", { class: "now", x1: X(now), x2: X(now), y1: 0, y2: 56 }) : null,
        s("polyline", { class: "curve", points: points.map(([x, y]) => `${X(x).toFixed(1)},${Y(y).toFixed(1)}`).join(" ") })),
      h("div", { class: "range" }, h("span", {}, `step ${x0}`), h("span", {}, `${figure(Math.min(...ys))} to ${figure(Math.max(...ys))}`), h("span", {}, String(x1))));
  }));
}
const figure = (x) => (Math.abs(x) >= 1000 || x === Math.round(x) ? String(Math.round(x)) : x.toPrecision(3)).replace("-", "−");

function drawLegend() {
  const swatch = (colour, words) => h("span", {}, h("i", { style: `background: var(--${colour})` }), words);
  document.getElementById("legend").append(
    h("span", {}, "policy, entropy 0", h("i", { class: "ramp" }), `${number(TOP, 1)} nats`), swatch("observation", "tool result"),
    h("span", {}, h("i", { class: "failed" }), "failed call"), swatch("branch", "branch"));
}

function keys(event) {
  if (event.target.closest("input, select") || event.metaKey || event.ctrlKey || event.altKey) return;
  const shown = [...document.querySelectorAll("#list button")].map((b) => +b.dataset.question);
  const paths = rowsOf(DATA.questions[state.question]).map((l) => l.path);
  const move = (all, at, by) => all[Math.min(all.length - 1, Math.max(0, all.indexOf(at) + by))];
  if (event.key === "j" || event.key === "k") {
    const next = move(shown, state.question, event.key === "j" ? 1 : -1);
    if (next !== undefined) choose(next);
  } else if (event.key === "n" || event.key === "p") choose(state.question, move(paths, state.path, event.key === "n" ? 1 : -1));
}

function start() {
  const steps = [...new Set(DATA.questions.map((q) => q.step))].sort((a, b) => a - b);
  document.getElementById("step").append(h("option", { value: "" }, "all steps"), ...steps.map((n) => h("option", { value: n }, `step ${n}`)));
  const questions = plural(DATA.questions.length, "question"), hint = "keys: j k questions, n p paths";
  document.getElementById("note").textContent = [DATA.note || questions, hint].join(" · ");
  document.getElementById("search").addEventListener("input", drawList);
  document.getElementById("step").addEventListener("change", drawList);
  document.addEventListener("keydown", keys);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawTree(); } });
  const asked = new URLSearchParams(location.hash.slice(1)), question = Number(asked.get("q"));
  state.question = Number.isInteger(question) && DATA.questions[question] ? question : 0;
  drawLegend();
  drawList();
  choose(state.question, asked.has("path") ? Number(asked.get("path")) : undefined);
}
start();
