// A node's tokens as a bar of coloured cells: one path a colour, however many tokens there are.
import { advantagesOf, clippedAt } from "./colour.js";
import { s } from "./dom.js";

const CELL = 2.5;

export function cells(question, id, leaf, colours, box) {
  const { x, y, width, height } = box,
    values = colours.values(id, leaf);
  if (!values) return [];
  const count = Math.max(1, Math.min(values.length, Math.floor(width / CELL))),
    step = width / count;
  const drawn = new Map();
  for (let i = 0; i < count; i++) {
    const name = colours.classOf(strongest(values, colours.distance, i, count));
    if (!name) continue;
    const last = drawn.get(name) ?? drawn.set(name, []).get(name);
    const end = last.at(-1);
    if (end && end[1] === i)
      end[1] = i + 1; // like neighbours are one cell
    else last.push([i, i + 1]);
  }
  return [...drawn].map(([name, runs]) =>
    s("path", {
      class: `cell ${name}`,
      d: runs
        .map(
          ([from, to]) =>
            `M${(x + from * step).toFixed(1)} ${y}H${(x + to * step).toFixed(1)}v${height}H${(x + from * step).toFixed(1)}z`,
        )
        .join(""),
    }),
  );
}

// Marks under the tokens that left the clip range.
export function clipMarks(question, id, leaf, box) {
  const { ratios, size } = question.nodes[id],
    advantages = advantagesOf(question, new Map(), leaf)?.get(id);
  if (!ratios || !advantages) return null;
  const at = ratios.flatMap((ratio, i) =>
    clippedAt(question, advantages[i], ratio) ? [box.x + (box.width * (i + 0.5)) / size] : [],
  );
  if (!at.length) return null;
  const y = box.y + box.height + 1.5;
  return s("path", { class: "clipmark", d: at.map((x) => `M${x.toFixed(1)} ${y}l-2.4 4h4.8z`).join("") });
}

// Of the tokens that share a cell, the one that stands out most.
function strongest(values, distance, i, count) {
  const from = Math.floor((i * values.length) / count),
    to = Math.floor(((i + 1) * values.length) / count);
  return (
    d3.greatest(
      values.slice(from, Math.max(to, from + 1)).filter((v) => v !== null),
      (a, b) => distance(a) - distance(b),
    ) ?? null
  );
}
