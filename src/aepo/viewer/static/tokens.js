// A node's text, token by token. It is plain text until it comes into sight, so that long paths open at once.
import { clippedAt, MODES } from "./colour.js";
import { h, number } from "./dom.js";

const CHUNK = 300;

const watching = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watching.unobserve(entry.target);
      entry.target.colour?.();
    }
  },
  { rootMargin: "400px" },
);

// Arrays by token; advantages and ratios may be null.
export function tokenText(question, node, colours, values, advantages) {
  const single = node.pieces.length === node.size;
  if (!single) return [h("span", {}, node.pieces.join(""))];
  const parts = [];
  for (let from = 0; from < node.pieces.length; from += CHUNK) {
    const pieces = node.pieces.slice(from, from + CHUNK),
      part = h("span", { class: "chunk" }, pieces.join(""));
    part.colour = () =>
      part.replaceChildren(
        ...pieces.map((piece, i) => {
          const at = from + i,
            clip = clippedAt(question, advantages?.[at], node.ratios?.[at]);
          const name = [values ? colours.classOf(values[at]) : "", clip ? `clipped ${clip}` : ""].join(" ").trim();
          const token = h("span", name ? { class: name } : {}, piece);
          token.said = () => sayToken(node, at, advantages?.[at], clip);
          return token;
        }),
      );
    watching.observe(part);
    parts.push(part);
  }
  return parts;
}

function sayToken(node, at, advantage, clip) {
  const said = [];
  if (node.entropies.length) said.push(MODES.entropy.read(node.entropies[at]));
  if (node.probabilities) said.push(`probability ${number(node.probabilities[at], 3)}`);
  if (advantage !== null && advantage !== undefined) said.push(MODES.advantage.read(advantage));
  const ratio = node.ratios?.[at];
  if (ratio !== null && ratio !== undefined) said.push(MODES.ratio.read(ratio) + (clip ? `, clipped ${clip}` : ""));
  return said.join("\n");
}

// One tip for all tokens, under the pointer.
export function startTips() {
  const tip = document.getElementById("tip");
  document.addEventListener("pointerover", (event) => {
    const said = event.target.said?.();
    tip.hidden = !said;
    if (!said) return;
    tip.textContent = said;
    const box = event.target.getBoundingClientRect();
    tip.style.setProperty("left", `${Math.max(8, Math.min(innerWidth - tip.offsetWidth - 8, box.left))}px`);
    tip.style.setProperty(
      "top",
      `${box.bottom + 6 + tip.offsetHeight > innerHeight ? box.top - tip.offsetHeight - 6 : box.bottom + 6}px`,
    );
  });
}
