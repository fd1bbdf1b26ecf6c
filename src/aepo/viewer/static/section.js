// A step of a run, or a data set of an evaluation: its groups as cards, to be searched, filtered and sorted.
import { card, summary } from "./card.js";
import { h, plural } from "./dom.js";
import { chosen, FILTERS, ORDERS, RARE } from "./filters.js";
import { addressOf, go, note } from "./route.js";
import { load, loadOnce, sectionAddress } from "./source.js";
import { worldFacts } from "./worlds.js";

const PAGE = 60;

// Questions that two runs share stand together: {address, questions, runs}.
export function paired(lists) {
  const [first = [], second = []] = lists,
    left = new Map(second.map((q) => [q.id, q]));
  const entries = first.map((q) => {
    const other = q.id ? left.get(q.id) : undefined;
    if (other) left.delete(q.id);
    return { address: `0.${q.index}`, questions: other ? [q, other] : [q], runs: other ? [0, 1] : [0] };
  });
  return [...entries, ...[...left.values()].map((q) => ({ address: `1.${q.index}`, questions: [q], runs: [1] }))];
}

export async function showSection(page, view, at) {
  const has = view.runs.map((run) => run.sections.find((section) => section.key === at.section));
  const entries = paired(
    await Promise.all(has.map((section, run) => (section ? loadOnce(sectionAddress(run, at.section)) : []))),
  );
  const state = {
    words: at.query.get("find") ?? "",
    order: at.query.get("order") in ORDERS ? at.query.get("order") : "as asked",
    filters: (at.query.get("only") ?? "").split(",").filter((name) => name in FILTERS),
    shown: PAGE,
  };
  const list = h("div", { class: "cards" }),
    count = h("p", { class: "count", role: "status" });
  const search = h("input", {
    type: "search",
    placeholder: "Find a question",
    "aria-label": "Find a question",
    value: state.words,
    oninput: () => update({ words: search.value }),
  });
  const order = h(
    "select",
    { "aria-label": "Order", onchange: () => update({ order: order.value }) },
    Object.keys(ORDERS).map((name) => h("option", { selected: name === state.order }, name)),
  );
  const toggles = Object.entries(FILTERS).map(([name, [label, meaning, holds]]) => {
    const many = entries.filter(({ questions }) => questions.some(holds)).length;
    if (!many && RARE.includes(name)) return null;
    return h(
      "button",
      {
        class: "chip",
        title: meaning,
        "data-filter": name,
        disabled: !many,
        "aria-pressed": String(state.filters.includes(name)),
        onclick: () => toggle(name),
      },
      label,
      h("b", {}, many),
    );
  });
  const worlds = await Promise.all(
    has.map(async (section, run) =>
      section && section.step !== null ? worldFacts((await load(`runs/${run}/metrics.json`)).rows, section.step) : null,
    ),
  );
  page.replaceChildren(
    h(
      "div",
      { class: "section-head" },
      h("h1", {}, has.find(Boolean)?.label ?? at.section),
      summary(view, has, entries, worlds),
    ),
    h("div", { class: "filters" }, search, order, h("div", { class: "chips" }, toggles)),
    count,
    list,
  );

  function toggle(name) {
    const on = state.filters.includes(name);
    update({ filters: on ? state.filters.filter((other) => other !== name) : [...state.filters, name] });
  }
  function update(changes) {
    Object.assign(state, { shown: PAGE }, changes);
    note("find", state.words);
    note("order", state.order);
    note("only", state.filters.join(","));
    for (const chip of toggles.filter(Boolean)) chip.setAttribute("aria-pressed", String(state.filters.includes(chip.dataset.filter)));
    draw();
  }
  function draw() {
    const kept = chosen(entries, state);
    count.textContent =
      kept.length === entries.length
        ? plural(entries.length, "question")
        : `${kept.length} of ${plural(entries.length, "question")}`;
    list.replaceChildren(...kept.slice(0, state.shown).map((entry) => card(view, at.section, entry)));
    if (!kept.length) list.append(h("p", { class: "none" }, "No question matches."));
    if (kept.length > state.shown)
      list.append(
        h(
          "button",
          {
            class: "more",
            onclick: () => {
              state.shown += PAGE;
              draw();
            },
          },
          `show ${Math.min(PAGE, kept.length - state.shown)} more`,
        ),
      );
  }
  draw();
  const move = (by) => {
    const cards = [...list.querySelectorAll("a.question")],
      next = cards[cards.indexOf(document.activeElement) + by] ?? cards[by > 0 ? 0 : cards.length - 1];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  };
  const sections = view.runs.find((run) => run.sections.some((section) => section.key === at.section))?.sections ?? [];
  const other = (by) => {
    const next = sections[sections.findIndex((section) => section.key === at.section) + by];
    if (next) go(addressOf(next.key, null, Object.fromEntries(at.query)));
  };
  return {
    keys: {
      ArrowDown: () => move(1),
      ArrowUp: () => move(-1),
      ArrowRight: () => other(1),
      ArrowLeft: () => other(-1),
      "/": () => search.focus(),
    },
  };
}
