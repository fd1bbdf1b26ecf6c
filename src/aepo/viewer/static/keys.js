// The keyboard: every page has its keys, these hold everywhere.
import { h } from "./dom.js";
import { addressOf, go, here } from "./route.js";
import { nextTheme } from "./theme.js";

const HELP = [
  ["u or Esc", "up: from a tree to its step, from a step to the run"],
  ["← →", "question or step before, after"],
  ["↑ ↓", "path above, below; card above, below"],
  ["Enter", "open what is chosen"],
  ["b", "next branch point"],
  ["c", "colour tokens by entropy, advantage, ratio, not at all"],
  ["x", "depth in tokens or turns"],
  ["+ −", "wider, narrower"],
  ["/", "search"],
  ["t", "light, dark, as the system"],
  ["?", "these keys"],
];

export function startKeys(current) {
  const help = document.getElementById("help");
  help.append(
    h("h2", {}, "Keys"),
    h(
      "dl",
      {},
      HELP.map(([key, words]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, words))),
    ),
    h("form", { method: "dialog" }, h("button", {}, "Close")),
  );
  const everywhere = { u: up, Escape: up, t: nextTheme, "?": showHelp };
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const action = current().keys?.[event.key] ?? everywhere[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

export function showHelp() {
  document.getElementById("help").showModal();
}

export function up() {
  const { section, question } = here();
  if (section !== undefined) go(question === undefined ? addressOf() : addressOf(section));
}
