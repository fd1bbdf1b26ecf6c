// What the environments of a step did, from its metrics.
import { duration, figure, h, plural } from "./dom.js";

export function worldFacts(rows, step) {
  const found = Object.assign({}, ...rows.filter((row) => row.step === step));
  const of = (name) => found[`environment/${name}`] ?? 0;
  if (!of("opened")) return null;
  const fact = (value, one, many, title, bad = false) =>
    value ? h("span", { title, class: bad ? "bad" : null }, h("b", {}, figure(value)), ` ${value === 1 ? one : many}`) : null;
  return h(
    "div",
    { class: "facts worlds" },
    fact(of("opened"), "world opened", "worlds opened", `in ${duration(of("open_seconds"))} in all`),
    fact(of("replayed_calls"), "call made again", "calls made again", "to bring worlds to where branches begin"),
    fact(of("restored"), "state restored", "states restored", `of ${plural(of("snapshots"), "kept state")}`),
    fact(of("refused"), "branch refused", "branches refused", "their worlds could not be made a second time", true),
    fact(of("lost"), "world lost", "worlds lost", `${figure(of("recovered"))} of them were made again`, true),
    fact(of("not_closed"), "world not closed", "worlds not closed", "close raised an error, or did not end", true),
  );
}
