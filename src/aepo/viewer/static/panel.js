// The chosen path, to read: each turn with its call, each result, each decision with its numbers, and how it ended.
import { duration, h, mean, number, plural, signed } from "./dom.js";
import { advantagesOf } from "./colour.js";
import { forkNode } from "./layout.js";
import { rewardIcon, standing, NEAR } from "./marks.js";
import { ORIGINS, STOPPED, STOPS } from "./names.js";
import { tokenText } from "./tokens.js";

export function drawPanel(box, question, plan, path, { tau, success, colours, onChoose }) {
  const leaf = question.leaves.find((l) => l.path === path);
  const walked = plan.walks.get(path), advantages = advantagesOf(question, new Map(), leaf);
  const began = new Map();
  for (const other of question.leaves) {
    const at = forkNode(question, plan.walks, other);
    if (at !== null) began.set(at, [...(began.get(at) ?? []), other]);
  }
  const users = new Map();
  for (const nodes of plan.walks.values()) for (const id of nodes) users.set(id, (users.get(id) ?? 0) + 1);
  const context = { tau, success, colours, onChoose, leaf, advantages, began, users };
  let turn = 0;
  box.replaceChildren(head(question, leaf, success, plan, onChoose), ...walked.map((id) => {
    const node = question.nodes[id];
    if (node.kind === "policy" && question.nodes[node.parent].kind !== "policy") turn += 1;
    return card(question, id, turn, context);
  }), end(leaf, success));
}

function head(question, leaf, success, plan, onChoose) {
  const paths = plan.rows.map((l) => l.path), at = paths.indexOf(leaf.path);
  const step = (by, sign, words) => h("button", { "aria-label": words, title: words, disabled: paths[at + by] === undefined, onclick: () => onChoose(paths[at + by]) }, sign);
  return h("div", { class: "panel-head" },
    h("h2", {}, `Path ${leaf.path}`),
    h("span", { class: `badge ${leaf.origin}`, title: ORIGINS[leaf.origin][1] }, leaf.parent === null ? ORIGINS[leaf.origin][0] : `${ORIGINS[leaf.origin][0]} of path ${leaf.parent}`),
    h("span", { class: "outcome" }, rewardIcon(leaf.reward, success), h("b", {}, number(leaf.reward))),
    h("span", { class: "steps" }, step(-1, "↑", "path above"), step(1, "↓", "path below")));
}

function card(question, id, turn, c) {
  const node = question.nodes[id], own = node.path === c.leaf.path;
  const shared = c.users.get(id) > 1 ? `shared by ${c.users.get(id)} paths` : null;
  const call = node.kind === "observation" ? question.nodes[node.parent].call : node.call;
  const title = { prompt: "Question", policy: `Turn ${turn}`, observation: call ? `Result of ${call.name}` : "Observation" }[node.kind];
  const facts = [plural(node.size, "token")];
  if (node.kind === "policy" && node.entropies.length) facts.push(`mean entropy ${number(mean(node.entropies))} nats`);
  if (node.result) {
    facts.push(duration(node.result.seconds));
    if (node.result.status !== "ok") facts.push(h("b", { class: "bad" }, node.result.status.replace("_", " ")));
    if (node.result.repeated) facts.push("the same call as before");
  }
  const text = h("pre", { dir: "auto" });
  if (node.kind === "policy") text.append(...tokenText(question, node, c.colours, c.colours.values(id, c.leaf), c.advantages?.get(id)));
  else text.append(node.pieces.join("").replace(/^\n+|\n+$/g, ""));
  return h("section", { class: `card ${node.kind}${own || node.kind === "prompt" ? "" : " inherited"}`, "data-card": id },
    h("div", { class: "card-head" }, h("b", {}, title), facts.map((fact) => h("span", {}, fact)), shared ? h("span", {}, shared) : null),
    text,
    node.kind === "policy" && node.call ? callOf(node.call) : null,
    node.decision ? decisionOf(question, id, node.decision, c) : null,
    node.kind === "policy" && c.began.has(id) ? h("div", { class: "decision" }, h("span", {}, "the call that follows was made anew"), paths(c.began.get(id), c)) : null);
}

function callOf(call) {
  const given = Object.entries(call.arguments).map(([name, value]) => [h("i", {}, `${name} `), typeof value === "string" ? value : JSON.stringify(value)]);
  return h("div", { class: "call" }, h("b", {}, `→ ${call.name}`), given.map((pair) => h("code", {}, pair)), call.error ? h("span", { class: "bad" }, call.error) : null);
}

function decisionOf(question, id, d, c) {
  const kind = standing(d, c.tau), percent = (p) => `${100 * Math.max(0, Math.min(1, p))}%`;
  const bar = h("div", { class: "p-bar", role: "img", "aria-label": `P ${number(d.probability)}${c.tau === null ? "" : ` against threshold ${number(c.tau)}`}` },
    h("i", { class: "level" }), c.tau === null ? null : h("i", { class: "tau" }));
  bar.firstChild.style.setProperty("width", percent(d.probability));
  if (c.tau !== null) bar.lastChild.style.setProperty("left", percent(c.tau));
  const value = (sign, words, meaning) => h("span", { class: "number", title: meaning }, h("i", {}, sign), words);
  return h("div", { class: `decision ${kind}`, "data-decision": id },
    h("div", { class: "verdict" }, h("b", {}, d.branches ? `Branched: ${plural(d.branches, "new path")}` : kind === "near" ? "Nearly branched" : "Did not branch"),
      d.branches ? null : h("span", {}, because(d, c.tau))),
    h("div", { class: "numbers" },
      value("H", `${number(d.entropy)} nats`, "segment entropy after this result"),
      value("ΔH", signed(d.delta), "how much higher it is than after the question, scaled"),
      value("l", String(d.consecutive), "branches in a row on this path before"),
      value("P", number(d.probability), "branch probability"),
      c.tau === null ? null : value("τ", number(c.tau), "the threshold that P must exceed"), bar),
    paths((c.began.get(id) ?? []).filter((leaf) => leaf.path !== c.leaf.path), c));
}

function because(d, tau) {
  if (d.stopped_by === "threshold" && tau !== null && d.probability > tau - NEAR) return `P is ${number(tau - d.probability, 3)} below the threshold`;
  return STOPPED[d.stopped_by] ?? "";
}

const paths = (leaves, c) => leaves.length ? h("div", { class: "to-paths" }, leaves.map((leaf) =>
  h("button", { onclick: () => c.onChoose(leaf.path) }, `path ${leaf.path} `, rewardIcon(leaf.reward, c.success)))) : null;

function end(leaf, success) {
  return h("section", { class: "card end" }, h("div", { class: "card-head" }, h("b", {}, leaf.answer === null ? "No answer" : "Answer"), h("span", {}, STOPS[leaf.stop])),
    leaf.answer === null ? null : h("p", { class: "answer", dir: "auto" }, leaf.answer),
    h("p", { class: "outcome" }, rewardIcon(leaf.reward, success), ` reward ${number(leaf.reward)}`,
      leaf.error ? h("span", { class: "bad" }, ` ${leaf.error}`) : null));
}
