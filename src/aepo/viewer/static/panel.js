// The chosen path, to read: each turn with its call, each result, each decision with its numbers, and how it ended.
import { advantagesOf } from "./colour.js";
import { decisionOf, pathButtons, refusedOf } from "./decision.js";
import { duration, h, mean, number, plural } from "./dom.js";
import { forkNode } from "./layout.js";
import { rewardIcon } from "./marks.js";
import { ORIGINS, STOPS, worked } from "./names.js";
import { stateOf } from "./state.js";
import { tokenText } from "./tokens.js";

export function drawPanel(box, question, plan, path, { tau, success, colours, onChoose }) {
  const leaf = question.leaves.find((l) => l.path === path);
  const walked = plan.walks.get(path),
    advantages = advantagesOf(question, new Map(), leaf);
  const began = new Map();
  for (const other of question.leaves) {
    const at = forkNode(question, plan.walks, other);
    if (at !== null) began.set(at, [...(began.get(at) ?? []), other]);
  }
  const users = new Map();
  for (const nodes of plan.walks.values()) for (const id of nodes) users.set(id, (users.get(id) ?? 0) + 1);
  const context = { tau, success, colours, onChoose, leaf, advantages, began, users };
  let turn = 0,
    seen = null;
  box.replaceChildren(
    head(question, leaf, success, plan, onChoose),
    ...walked.map((id) => {
      const node = question.nodes[id];
      if (node.kind === "policy" && question.nodes[node.parent].kind !== "policy") turn += 1;
      const drawn = card(question, id, turn, { ...context, seen });
      seen = node.state ?? seen;
      return drawn;
    }),
    end(leaf, success, walked.map((id) => question.nodes[id].state).findLast((state) => state !== null) ?? null),
  );
}

function head(question, leaf, success, plan, onChoose) {
  const paths = plan.rows.map((l) => l.path),
    at = paths.indexOf(leaf.path);
  const step = (by, sign, words) =>
    h(
      "button",
      {
        "aria-label": words,
        title: words,
        disabled: paths[at + by] === undefined,
        onclick: () => onChoose(paths[at + by]),
      },
      sign,
    );
  return h(
    "div",
    { class: "panel-head" },
    h("h2", {}, `Path ${leaf.path}`),
    h(
      "span",
      { class: `badge ${leaf.origin}`, title: ORIGINS[leaf.origin][1] },
      leaf.parent === null ? ORIGINS[leaf.origin][0] : `${ORIGINS[leaf.origin][0]} of path ${leaf.parent}`,
    ),
    h("span", { class: "outcome" }, rewardIcon(leaf.reward, success), h("b", {}, number(leaf.reward))),
    h("span", { class: "steps" }, step(-1, "↑", "path above"), step(1, "↓", "path below")),
  );
}

function card(question, id, turn, c) {
  const node = question.nodes[id],
    own = node.path === c.leaf.path;
  const shared = c.users.get(id) > 1 ? `shared by ${c.users.get(id)} paths` : null;
  const calls = node.kind === "observation" ? question.nodes[node.parent].calls : node.calls;
  const several = node.results.length > 1;
  const title = {
    prompt: "Question",
    policy: `Turn ${turn}`,
    observation: several ? `Results of ${calls.length} calls` : calls.length ? `Result of ${calls[0].name}` : "Told of the broken turn",
  }[node.kind];
  const facts = [plural(node.size, "token")];
  if (node.kind === "policy" && node.entropies.length) facts.push(`mean entropy ${number(mean(node.entropies))} nats`);
  if (node.error !== null) facts.push(h("b", { class: "bad" }, `not trained: ${node.error}`));
  if (node.results.length && !node.size) facts.push("the policy did not read it");
  if (node.results.length === 1) facts.push(...factsOf(node.results[0]));
  const text = h("pre", { dir: "auto" });
  if (node.kind === "policy")
    text.append(...tokenText(question, node, c.colours, c.colours.values(id, c.leaf), c.advantages?.get(id)));
  else text.append((node.pieces.join("") || (node.results[0]?.text ?? "")).replace(/^\n+|\n+$/g, ""));
  return h(
    "section",
    { class: `card ${node.kind}${own || node.kind === "prompt" ? "" : " inherited"}`, "data-card": id },
    h(
      "div",
      { class: "card-head" },
      h("b", {}, title),
      facts.map((fact) => h("span", {}, fact)),
      shared ? h("span", {}, shared) : null,
    ),
    several ? node.results.map((result, at) => resultOf(calls[at], result)) : text,
    node.kind === "policy" ? calls.map((call) => callOf(call)) : null,
    stateOf(node.state, c.seen, false),
    node.decision ? decisionOf(question, id, node.decision, c) : null,
    refusedOf(node.refused),
    node.kind === "policy" && c.began.has(id)
      ? h(
          "div",
          { class: "decision" },
          h("span", {}, "the call that follows was made anew"),
          pathButtons(c.began.get(id), c),
        )
      : null,
  );
}

function factsOf(result) {
  return [
    duration(result.seconds),
    result.status === "ok" ? null : h("b", { class: worked(result.status) ? null : "bad" }, result.status.replace("_", " ")),
    result.repeated ? "the same call as before" : null,
    result.cut ? "cut to the tokens that were left" : null,
  ].filter((fact) => fact !== null);
}

// One of the results of a turn, under the call that it answers.
function resultOf(call, result) {
  return h(
    "div",
    { class: "result" },
    callOf(
      call,
      factsOf(result).map((fact) => h("span", {}, fact)),
    ),
    h("pre", { dir: "auto" }, result.text),
  );
}

function callOf(call, facts = []) {
  const given = Object.entries(call.arguments).map(([name, value]) => [
    h("i", {}, `${name} `),
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return h(
    "div",
    { class: "call" },
    h("b", {}, `→ ${call.name}`),
    given.map((pair) => h("code", {}, pair)),
    call.error ? h("span", { class: "bad" }, call.error) : null,
    facts,
  );
}

const ENDS = { done: "Done", lost: "World lost" };

function end(leaf, success, seen) {
  return h(
    "section",
    { class: "card end" },
    h(
      "div",
      { class: "card-head" },
      h("b", {}, ENDS[leaf.stop] ?? (leaf.answer === null ? "No answer" : "Answer")),
      leaf.stop in ENDS ? null : h("span", {}, STOPS[leaf.stop]),
    ),
    leaf.answer === null ? null : h("p", { class: "answer", dir: "auto" }, leaf.answer),
    h(
      "p",
      { class: "outcome" },
      rewardIcon(leaf.reward, success),
      ` reward ${number(leaf.reward)}`,
      leaf.outcome !== null && leaf.outcome !== leaf.reward ? `, ${number(leaf.outcome)} by the environment` : null,
      leaf.error ? h("span", { class: "bad" }, ` ${leaf.error}`) : null,
    ),
    stateOf(leaf.state, seen, true),
  );
}
