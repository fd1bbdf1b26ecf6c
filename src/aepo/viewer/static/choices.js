// The buttons above a tree: what colours tokens, what depth is measured in, how wide it is.
import { MODES } from "./colour.js";
import { h } from "./dom.js";

export const MEASURES = ["tokens", "turns"];
export const ZOOMS = [1, 1.5, 2, 3, 5, 8];

export function choices(state, shown, update) {
  const group = (words, all, current, set) =>
    h(
      "div",
      { class: "choice", role: "group", "aria-label": words },
      h("span", {}, words),
      all.map(([key, label]) =>
        h("button", { "aria-pressed": String(key === current), onclick: () => set(key) }, label),
      ),
    );
  return [
    group(
      "tokens by",
      Object.entries(MODES).map(([key, { label }]) => [key, label]),
      state.mode,
      (mode) => update({ mode }),
    ),
    group(
      "depth in",
      MEASURES.map((key) => [key, key]),
      state.measure,
      (measure) => update({ measure }),
    ),
    h(
      "div",
      { class: "choice", role: "group", "aria-label": "zoom" },
      h("span", {}, "zoom"),
      h(
        "button",
        { "aria-label": "narrower", disabled: state.zoom === 0, onclick: () => update({ zoom: state.zoom - 1 }) },
        "−",
      ),
      h(
        "button",
        {
          "aria-label": "wider",
          disabled: state.zoom === ZOOMS.length - 1,
          onclick: () => update({ zoom: state.zoom + 1 }),
        },
        "+",
      ),
    ),
    shown && !shown.colours.known ? h("span", { class: "hint" }, `no ${state.mode} is kept for this question`) : null,
  ].filter(Boolean);
}
