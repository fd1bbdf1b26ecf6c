// Where each path and each node of a tree stands; nothing is drawn here.
// Rows from top to bottom: a path, then the paths that left it, the latest fork first, so that no lines cross.
export function rowOrder(paths, forkOf) {
  const known = new Set(paths.map((p) => p.path)),
    rows = [];
  const children = d3.group(
    paths.filter((p) => known.has(p.parent) && p.parent !== p.path),
    (p) => p.parent,
  );
  const below = (path) => {
    rows.push(path);
    (children.get(path.path) ?? []).sort((a, b) => forkOf(b) - forkOf(a) || a.path - b.path).forEach(below);
  };
  paths.filter((p) => !known.has(p.parent)).forEach(below);
  return rows;
}

export function walk(nodes, node) {
  const found = [];
  for (let at = node; at !== null; at = nodes[at].parent) found.push(at);
  return found.reverse();
}

// Depth of a node on the x axis: in tokens after the question, or in turns, where observations are a third.
const MEASURES = {
  tokens: (node) => node.size,
  turns: (node) => (node.kind === "policy" ? 1 : 0.35),
};

// {rows: leaves from top to bottom, walks, spans: [from, to] of each node, row: of each node, depth}
export function layout(question, measure) {
  const { nodes, leaves } = question,
    size = MEASURES[measure];
  const spans = [],
    walks = new Map(leaves.map((leaf) => [leaf.path, walk(nodes, leaf.node)]));
  nodes.forEach((node, id) => {
    const from = node.parent === null ? 0 : spans[node.parent][1];
    spans[id] = [from, node.kind === "prompt" ? from : from + size(node)];
  });
  const fork = (leaf) => {
    const shared = walks.get(leaf.path).filter((id) => nodes[id].path !== leaf.path);
    return shared.length ? spans[shared.at(-1)][1] : 0;
  };
  const rows = rowOrder(leaves, fork);
  const number = new Map(rows.map((leaf, i) => [leaf.path, i]));
  const first = new Map();
  for (const leaf of rows)
    for (const id of walks.get(leaf.path)) if (!first.has(id)) first.set(id, number.get(leaf.path));
  const row = nodes.map((node, id) => number.get(node.path) ?? first.get(id) ?? 0);
  return { rows, walks, spans, row, depth: Math.max(1, ...spans.map((span) => span[1])) };
}

// The last node that a path shares with the one it left, null where it began at the question.
export function forkNode(question, walks, leaf) {
  const shared = walks
    .get(leaf.path)
    .filter((id) => question.nodes[id].path !== leaf.path && question.nodes[id].kind !== "prompt");
  return leaf.parent === null || !shared.length ? null : shared.at(-1);
}
