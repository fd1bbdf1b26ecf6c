// Which page is shown, as the address says.
import { h } from "./dom.js";
import { showGroup } from "./group.js";
import { showHelp, startKeys } from "./keys.js";
import { showList } from "./list.js";
import { addressOf, here } from "./route.js";
import { showRun } from "./run.js";
import { showSection } from "./section.js";
import { load } from "./source.js";
import { nextTheme, startTheme } from "./theme.js";
import { startTips } from "./tokens.js";

const page = document.getElementById("page");
let shown = {};
let turn = 0;

function way(view, at) {
  const label =
    view.runs.flatMap((run) => run.sections ?? []).find((section) => section.key === at.section)?.label ?? at.section;
  const parts = [[addressOf(), view.list ?? view.runs.map((run) => run.name).join(" and ")]];
  if (view.up) parts.unshift(["../../", "start"]);
  if (at.section !== undefined) parts.push([addressOf(at.section), label]);
  if (at.question !== undefined) parts.push([null, `question ${at.index + 1}`]);
  return parts.map(([address, words], i) =>
    i === parts.length - 1 ? h("b", { "aria-current": "page" }, words) : h("a", { href: address }, words),
  );
}

async function show(view) {
  const mine = ++turn,
    at = here();
  shown.leave?.();
  shown = {};
  document.getElementById("tip").hidden = true;
  document.getElementById("way").replaceChildren(...way(view, at));
  document.title = [at.section, ...view.runs.map((run) => run.name)].filter(Boolean).join(" · ");
  page.classList.add("loading");
  const fresh = h("div", { class: at.question !== undefined ? "page-group" : "page-list" });
  let found = {};
  const put = () => {
    page.replaceChildren(...(view.note ? [h("p", { class: "notice" }, view.note)] : []), fresh);
  };
  try {
    // The group measures its room, so it is drawn where it will stand.
    if (at.question !== undefined) put();
    found = await (view.list ? showList : at.question !== undefined ? showGroup : at.section !== undefined ? showSection : showRun)(
      fresh,
      view,
      at,
    );
  } catch (error) {
    fresh.replaceChildren(h("p", { class: "notice", role: "alert" }, error.message));
    if (!(error instanceof Error) || error instanceof TypeError || error instanceof ReferenceError) throw error;
  } finally {
    if (mine === turn) {
      if (at.question === undefined) put();
      shown = found;
      page.classList.remove("loading");
      page.dataset.shown = location.hash;
    } else found.leave?.();
  }
}

async function start() {
  startTheme();
  startTips();
  document
    .getElementById("tools")
    .append(
      h("button", { title: "light, dark, as the system (t)", "aria-label": "Theme", onclick: nextTheme }, "◐"),
      h("button", { title: "keys (?)", "aria-label": "Keys", onclick: showHelp }, "?"),
    );
  startKeys(() => shown);
  let view;
  try {
    view = await load("view.json");
  } catch (error) {
    page.replaceChildren(h("p", { class: "notice", role: "alert" }, error.message));
    return;
  }
  addEventListener("hashchange", () => {
    scrollTo(0, 0);
    show(view);
  });
  addEventListener("resize", () => shown.resize?.());
  await show(view);
}

start();
