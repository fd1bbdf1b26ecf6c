// What stands at a row of the tree, and the words that a pointer finds there.
import { duration, number, plural, s, short, signed } from "./dom.js";
import { gauge, rewardSign, standing } from "./marks.js";
import { ORIGINS, STOPPED, STOPS } from "./names.js";

export function label(leaf, y, size) {
  const [name, meaning] = ORIGINS[leaf.origin];
  const inside = leaf.origin === "branch" || leaf.origin === "resampled";
  return s(
    "g",
    { class: `label ${leaf.origin}` },
    s("title", {}, `path ${leaf.path}: ${meaning}`),
    s("rect", {
      class: "plate",
      x: size.narrow ? 26 : 32,
      y: y - size.plate / 2,
      width: size.narrow ? 22 : 102,
      height: size.plate,
      rx: size.plate / 2,
    }),
    s(
      "text",
      { class: "path-number", x: size.narrow ? 37 : 51, y: y + 4, "text-anchor": size.narrow ? "middle" : "end" },
      String(leaf.path),
    ),
    size.narrow
      ? null
      : s("text", { x: 58, y: y + 4 }, inside && leaf.parent !== null ? `${name} of ${leaf.parent}` : name),
  );
}

export function ending(leaf, y, size, success) {
  const words = leaf.error ? `✕ ${leaf.error}` : (leaf.answer ?? STOPS[leaf.stop]);
  const room = Math.floor((size.right - 66) / 7);
  return s(
    "g",
    { class: "ending" },
    rewardSign(leaf.reward, success, 13, y, Math.min(6, size.bar / 2)),
    s("text", { class: "value", x: 58, y: y + 4, "text-anchor": "end" }, number(leaf.reward)),
    size.narrow
      ? null
      : s(
          "text",
          { class: leaf.error || leaf.stop === "lost" ? "error" : leaf.answer === null ? "quiet" : "answer", x: 68, y: y + 4 },
          short(words, Math.max(4, room)),
          s("title", {}, words),
        ),
  );
}

// `free` says whether a text that begins there meets no other text of the row.
export function branchPoint(decision, tau, x, y, size, onclick, id, free) {
  const kind = standing(decision, tau),
    tall = size.bar + (size.row > 36 ? 9 : 6);
  const g = s(
    "g",
    {
      class: `branch-point ${kind}`,
      "data-decision": id,
      onclick: (event) => {
        event.stopPropagation();
        onclick();
      },
    },
    s("title", {}, sayDecision(decision, tau)),
    s("rect", { class: "hit", x: x - 8, y: y - tall / 2 - 2, width: 16, height: tall + 4 }),
    gauge(decision, tau, x, y, tall),
  );
  const turned = x > size.edge;
  if (size.row > 36 && kind !== "far" && !size.narrow && free(turned ? x - 32 : x + 6))
    g.append(
      s(
        "text",
        {
          class: "p",
          x: x + (turned ? -6 : 6),
          y: y - tall / 2 + 2,
          "text-anchor": turned ? "end" : "start",
        },
        number(decision.probability).replace(/^0/, ""),
      ),
    );
  return g;
}

function sayDecision(d, tau) {
  const numbers = `H ${number(d.entropy)} nats, ΔH ${signed(d.delta)}, l ${d.consecutive}, P ${number(d.probability)}`;
  const against = tau === null ? "" : ` against τ ${number(tau)}`;
  return `${numbers}${against}\n${d.branches ? `branched: ${plural(d.branches, "new path")}` : `did not branch: ${STOPPED[d.stopped_by] ?? "no reason kept"}`}`;
}

export function saidOf(question, id, tau) {
  const node = question.nodes[id];
  if (node.error !== null) return `${plural(node.size, "token")}, not trained: ${node.error}`;
  if (node.kind === "policy")
    return `${plural(node.size, "token")}${node.calls.length ? `, then calls ${node.calls.map((call) => call.name).join(", ")}` : ""}`;
  const ended = node.results.map((result) => `${result.status}, ${duration(result.seconds)}`).join("; ");
  const told = ended ? `${node.results.length > 1 ? "results" : "result"}: ${ended}` : "told of the broken turn";
  return `${told}, ${plural(node.size, "token")}${node.decision ? `\n${sayDecision(node.decision, tau)}` : ""}`;
}
