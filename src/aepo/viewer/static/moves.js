// Which path or question comes next.
import { addressOf, go } from "./route.js";
import { loadOnce, sectionAddress } from "./source.js";

// A path that branched off shows most; else the first.
export const mostTelling = (rows) =>
  (rows.find((leaf) => leaf.origin === "branch" || leaf.origin === "resampled") ?? rows[0]).path;

export const leafThrough = (question, plan, node) =>
  (
    plan.rows.find((leaf) => leaf.path === question.nodes[node].path && plan.walks.get(leaf.path).includes(node)) ??
    plan.rows.find((leaf) => plan.walks.get(leaf.path).includes(node))
  ).path;

export function beside({ rows }, path, by) {
  const at = rows.findIndex((leaf) => leaf.path === path);
  return rows[Math.max(0, Math.min(rows.length - 1, at + by))].path;
}

export function nextBranch(trees, drawn, state, choose, panel) {
  const { question } = trees.find((tree) => tree.run === state.run);
  const points = question.nodes.flatMap((node, id) => (node.decision?.branches ? [id] : []));
  if (points.length) choose(state.run, null, points[(points.indexOf(Number(panel.dataset.node)) + 1) % points.length]);
}

export async function neighbour(view, at, by) {
  const all = await loadOnce(sectionAddress(at.run, at.section)),
    place = all.findIndex((one) => one.index === at.index);
  const next = all[place + by];
  if (next)
    go(addressOf(at.section, `${at.run}.${next.index}`, { colour: at.query.get("colour"), by: at.query.get("by") }));
}
