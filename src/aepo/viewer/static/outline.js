// A tree in a thumbnail: its paths as lines, where they left each other, and the rewards at their ends.
import { s } from "./dom.js";
import { rowOrder } from "./layout.js";
import { rewardSign } from "./marks.js";

const WIDTH = 300,
  LEFT = 10,
  RIGHT = 14;

export function thumbnail(question, success) {
  const paths = question.outline.map(([path, parent, start, end, reward]) => ({ path, parent, start, end, reward }));
  const rows = rowOrder(paths, (p) => p.start);
  const gap = Math.max(3, Math.min(13, 104 / Math.max(1, rows.length)));
  const height = rows.length * gap + 8;
  const x = d3.scaleLinear([0, Math.max(1, ...paths.map((p) => p.end))], [LEFT + 10, WIDTH - RIGHT - 6]);
  const y = new Map(rows.map((p, i) => [p.path, 4 + gap * (i + 0.5)]));
  const roots = rows.filter((p) => !y.has(p.parent)).map((p) => y.get(p.path));
  const middle = (roots[0] + roots.at(-1)) / 2;
  return s(
    "svg",
    { class: "thumbnail", viewBox: `0 0 ${WIDTH} ${height}`, "aria-hidden": "true" },
    rows.map((p) => {
      const at = y.get(p.path),
        from = y.get(p.parent),
        start = x(p.start);
      const link =
        from === undefined
          ? `M${LEFT} ${middle}C${LEFT + 6} ${middle} ${LEFT + 3} ${at} ${LEFT + 10} ${at}`
          : `M${start} ${from}C${start + 5} ${from} ${start} ${at} ${start + 8} ${at}`;
      return s("path", { class: from === undefined ? "path" : "path branch", d: `${link}H${x(p.end)}` });
    }),
    s("circle", { class: "root", cx: LEFT, cy: middle, r: 3 }),
    rows.map((p) =>
      from(p, y) === null
        ? null
        : s("circle", { class: "fork", cx: x(p.start), cy: from(p, y), r: Math.min(2.6, gap / 3) }),
    ),
    rows.map((p) =>
      rewardSign(p.reward, success, x(p.end) + Math.min(5, gap / 2) + 2, y.get(p.path), Math.min(4, gap / 2.6)),
    ),
  );
}

function from(path, y) {
  return y.get(path.parent) ?? null;
}
