// The picture of a group: a row a path, depth to the right, branch points with P against the threshold, rewards at the end.
import { cells, clipMarks } from "./cells.js";
import { figure, h, plural, s } from "./dom.js";
import { layout } from "./layout.js";
import { worked } from "./names.js";
import { branchPoint, ending, label, saidOf } from "./parts.js";

// Sizes by the number of rows and the room there is.
function sizes(rows, width) {
  const narrow = width < 640;
  const row = rows <= 10 ? 42 : rows <= 24 ? 30 : 20;
  return {
    row,
    bar: row > 36 ? 15 : row > 24 ? 12 : 9,
    plate: Math.min(18, row - 4),
    top: 30,
    left: narrow ? 52 : 142,
    right: narrow ? 72 : Math.min(300, width * 0.22),
    narrow,
  };
}

// Draws into a box, to the depth given; returns rows, walks and the like, and how to choose a path (or null, none).
export function drawTree(box, question, { tau, success, colours, measure, zoom, depth, onChoose }) {
  const plan = layout(question, measure),
    { rows, spans, row, walks } = plan;
  const room = box.clientWidth || 900,
    size = sizes(rows.length, room);
  const height = size.top + rows.length * size.row + 10;
  const width = Math.max(160, (room - size.left - size.right) * zoom);
  size.edge = width - 36;
  const x = d3.scaleLinear([0, depth], [14, width - 12]);
  const y = (index) => size.top + size.row * (index + 0.5);
  const leafOf = new Map(rows.map((leaf) => [leaf.path, leaf]));
  const starts = svg(size.left, height),
    middle = svg(width, height),
    ends = svg(size.right, height);
  const bands = [starts, middle, ends].map((at, i) =>
    rows.map((leaf, n) => {
      const band = s("rect", {
        class: "band",
        x: 0,
        y: y(n) - size.row / 2,
        width: [size.left, width, size.right][i],
        height: size.row,
        onclick: () => onChoose(leaf.path),
      });
      at.append(band);
      return band;
    }),
  );
  axis(middle, x, measure, height, width);
  const links = s("g"),
    bars = s("g"),
    marks = s("g");
  middle.append(links, bars, marks);
  const roots = rows.map((leaf, n) => [leaf, n]).filter(([leaf]) => !leafOf.has(leaf.parent));
  const centre = (y(roots[0][1]) + y(roots.at(-1)[1])) / 2;
  starts.append(
    s(
      "g",
      { class: "fan" },
      roots.map(([, n]) => s("path", { d: `M10 ${centre}C26 ${centre} 12 ${y(n)} 30 ${y(n)}H${size.left}` })),
      s(
        "circle",
        { cx: 10, cy: centre, r: 5 },
        s("title", {}, `the question, ${plural(question.nodes[0].size, "token")}`),
      ),
    ),
  );
  rows.forEach((leaf, n) => {
    const root = !leafOf.has(leaf.parent);
    if (root) links.append(s("path", { class: "link", d: `M0 ${y(n)}H14` }));
    starts.append(label(leaf, y(n), size));
    ends.append(ending(leaf, y(n), size, success));
  });
  const taken = rows.map(() => []);
  const free = (n) => (from) => !taken[n].some((other) => Math.abs(other - from) < 26) && taken[n].push(from) > 0;
  const parts = question.nodes.map((node, id) => {
    if (node.kind === "prompt") return [];
    const at = y(row[id]),
      x0 = x(spans[id][0]),
      x1 = x(spans[id][1]);
    const leaf = leafOf.get(node.path) ?? rows[row[id]];
    const drawn = [];
    if (row[id] !== row[node.parent] && question.nodes[node.parent].kind !== "prompt") {
      drawn.push(links.appendChild(s("path", { class: "link branch", d: fork(x0, y(row[node.parent]), at, size) })));
    }
    const reach = (event) => {
      event.stopPropagation();
      onChoose(null, id);
    };
    const g = s("g", { class: `part ${node.kind}`, "data-node": id, onclick: reach });
    const bar = { x: x0, y: at - size.bar / 2, width: Math.max(1.5, x1 - x0), height: size.bar };
    g.append(s("title", {}, saidOf(question, id, tau)));
    if (node.kind === "policy") {
      const untrained = node.error !== null ? " untrained" : "";
      g.append(s("rect", { class: `base${untrained}`, ...bar, rx: 2 }), ...cells(question, id, leaf, colours, bar));
      const clipped = clipMarks(question, id, leaf, bar);
      if (clipped) g.append(clipped);
    } else {
      const thin = Math.max(4, Math.round(size.bar / 2.6));
      const failed = !node.results.every((result) => worked(result.status));
      g.append(
        s("rect", {
          class: `base${failed ? " failed" : ""}`,
          x: bar.x,
          y: at - thin / 2,
          width: bar.width,
          height: thin,
          rx: thin / 2,
        }),
      );
    }
    drawn.push(bars.appendChild(g));
    if (node.decision)
      drawn.push(marks.appendChild(branchPoint(node.decision, tau, x1, at, size, () => onChoose(null, id), id, free(row[id]))));
    return drawn;
  });
  box.replaceChildren(
    h("div", { class: "tree-rows" }, starts, h("div", { class: "tree-scroll", tabindex: -1 }, middle), ends),
  );
  const choose = (path, picked = null) => {
    const on = new Set(walks.get(path));
    parts.forEach((drawn, id) => drawn.forEach((part) => part.classList.toggle("off", path !== null && !on.has(id))));
    for (const point of marks.children)
      point.classList.toggle("picked", picked !== null && point.dataset.decision === String(picked));
    bands.forEach((column) => column.forEach((band, n) => band.classList.toggle("chosen", rows[n].path === path)));
  };
  return { ...plan, choose };
}

const svg = (width, height) => s("svg", { width, height, viewBox: `0 0 ${width} ${height}` });

function fork(x, from, to, size) {
  const r = Math.min(9, size.row / 2.4);
  return `M${x} ${from}V${to - r}q0 ${r} ${r * 0.7} ${r}`;
}

function axis(at, x, measure, height, width) {
  const ticks = measure === "tokens" ? x.ticks(Math.max(2, width / 110)) : d3.range(0, x.domain()[1], 1.35);
  for (const tick of ticks) {
    const words = measure === "tokens" ? (tick ? figure(tick) : "0 tokens") : `turn ${Math.round(tick / 1.35) + 1}`;
    at.append(
      s("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 22, y2: height - 4 }),
      s("text", { class: "tick", x: x(tick), y: 15, "text-anchor": tick ? "middle" : "start" }, words),
    );
  }
}
