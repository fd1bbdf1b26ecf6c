// What the colours and signs of the tree mean.
import { LEVELS, MODES, scaleEnds } from "./colour.js";
import { h, number, s } from "./dom.js";
import { gauge, rewardIcon } from "./marks.js";

export function legend(box, colours, tau, refused) {
  box.replaceChildren(
    ...[
      colours && colours.known && colours.mode !== "none" ? scale(colours) : null,
      item(h("i", { class: "swatch observation" }), "tool result"),
      item(h("i", { class: "swatch observation failed" }), "failed call"),
      colours?.untrained ? item(h("i", { class: "swatch untrained" }), "broken turn, not trained") : null,
      item(
        sample({ probability: 0.82, branches: 1 }, tau),
        tau === null ? "branched, P as height" : `branched: P above τ ${number(tau)}`,
      ),
      item(
        sample({ probability: tau === null ? 0.5 : tau - 0.02, branches: 0, stopped_by: "threshold" }, tau),
        "nearly did",
      ),
      item(sample({ probability: 0.3, branches: 0, stopped_by: "threshold" }, tau), "did not"),
      refused ? item(sample({ probability: 0.82, branches: 0, stopped_by: "environment" }, tau), "branch refused") : null,
      item(rewardIcon(1, 1), "solved"),
      item(rewardIcon(0.5, 1), "partly"),
      item(rewardIcon(0, 1), "not"),
      item(rewardIcon(-1, 1), "below 0"),
      colours?.mode === "none"
        ? null
        : item(
            s(
              "svg",
              { class: "icon", width: 10, height: 10, viewBox: "0 0 10 10" },
              s("path", { class: "clipmark", d: "M5 2l-3 5h6z" }),
            ),
            "clipped token",
          ),
    ].filter(Boolean),
  );
}

const item = (sign, words) => h("span", {}, sign, words);
const sample = (decision, tau) =>
  s(
    "svg",
    { class: "icon", width: 12, height: 20, viewBox: "0 0 12 20" },
    gauge(decision, decision.stopped_by && tau === null ? 0.52 : tau, 6, 10, 18),
  );

function scale(colours) {
  const [low, high] = scaleEnds(colours),
    hues = MODES[colours.mode].hues;
  const up = d3.range(1, LEVELS + 1).map((level) => h("i", { class: `${hues[0]} l${level}` }));
  const down = hues[1] ? d3.range(LEVELS, 0, -1).map((level) => h("i", { class: `${hues[1]} l${level}` })) : [];
  return h(
    "span",
    { class: "scale" },
    `${MODES[colours.mode].label} ${low}`,
    h("span", { class: "ramp" }, down, up),
    high,
  );
}
