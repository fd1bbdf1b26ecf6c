// What tokens are coloured by: a value for each token, ten levels of one hue or of two, and which tokens were clipped.
import { number, signed } from "./dom.js";
import { walk } from "./layout.js";

export const LEVELS = 10;

export const MODES = {
  entropy: { label: "entropy", hues: ["heat"], read: (v) => `entropy ${number(v, 3)} nats` },
  advantage: { label: "advantage", hues: ["up", "down"], read: (v) => `advantage ${signed(v, 3)}` },
  ratio: { label: "ratio", hues: ["rise", "fall"], read: (v) => `ratio ${number(v, 3)}` },
  none: { label: "plain", hues: [], read: () => "" },
};

// A question's colours in one mode: values(node, leaf), class of a value, ends of the scale, whether it has any.
export function colouring(question, mode) {
  const slices = new Map();
  const values = (id, leaf) => {
    const node = question.nodes[id];
    if (node.kind !== "policy" || node.error !== null || mode === "none") return null;
    if (mode === "entropy") return node.entropies.length === node.size ? node.entropies : null;
    if (mode === "ratio") return node.ratios;
    return advantagesOf(question, slices, leaf)?.get(id) ?? null;
  };
  const distance = (value) => Math.abs(centred(mode, value));
  const distances = [];
  for (const leaf of question.leaves) {
    for (const id of walk(question.nodes, leaf.node)) {
      if (mode !== "advantage" && question.nodes[id].path !== leaf.path) continue;
      for (const v of values(id, leaf) ?? []) if (v !== null) distances.push(distance(v));
    }
  }
  const least = { entropy: 0.5, advantage: 0.1, ratio: 0.02, none: 1 }[mode];
  const top = Math.max(least, d3.quantile(distances, 0.98) ?? 0);
  const classOf = (value) => {
    if (value === null || value === undefined || mode === "none") return "";
    const at = centred(mode, value),
      level = Math.min(LEVELS, Math.round((LEVELS * distance(value)) / top));
    return level ? `${at >= 0 ? MODES[mode].hues[0] : (MODES[mode].hues[1] ?? MODES[mode].hues[0])} l${level}` : "";
  };
  const untrained = question.nodes.some((node) => node.error !== null);
  return { mode, values, classOf, distance, top, untrained, known: mode === "none" || distances.length > 0 };
}

// Which side of the clip range a token has left, as its advantage makes it matter; null if none.
export function clippedAt(question, advantage, ratio) {
  if (!question.clip || ratio === null || ratio === undefined || !advantage) return null;
  if (advantage > 0 && ratio > 1 + question.clip[1]) return "above";
  return advantage < 0 && ratio < 1 - question.clip[0] ? "below" : null;
}

// The advantages of a leaf's tokens by node; null where nothing is known.
export function advantagesOf(question, slices, leaf) {
  if (!leaf?.advantages) return null;
  if (!slices.has(leaf.path)) {
    const byNode = new Map();
    let at = 0;
    for (const id of walk(question.nodes, leaf.node)) {
      if (question.nodes[id].kind !== "policy" || question.nodes[id].error !== null) continue;
      byNode.set(id, leaf.advantages.slice(at, (at += question.nodes[id].size)));
    }
    slices.set(leaf.path, byNode);
  }
  return slices.get(leaf.path);
}

// The ends of a scale in words, from left to right.
export function scaleEnds({ mode, top }) {
  if (mode === "entropy") return ["0", `${number(top, 1)} nats`];
  if (mode === "advantage") return [signed(-top), signed(top)];
  return [number(Math.exp(-top)), number(Math.exp(top))];
}

function centred(mode, value) {
  return mode === "ratio" ? Math.log(Math.max(value, 1e-9)) : value;
}
