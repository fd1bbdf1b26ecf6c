// The figures of an evaluation, with their intervals.
import { figure, h, percent } from "./dom.js";

export function figures(parts) {
  return parts.map(({ name, figures: rows }) =>
    h(
      "dl",
      { class: "figures", "aria-label": name },
      rows.map(([label, value, low, high, unit]) =>
        h("div", {}, h("dt", {}, label), h("dd", {}, read(value, unit), low === null || low === undefined ? null : h("span", {}, `${read(low, unit)} to ${read(high, unit)}`))),
      ),
    ),
  );
}

function read(value, unit) {
  return unit === "share" ? percent(value) : figure(value);
}
