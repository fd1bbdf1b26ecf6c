// The state of an environment: its pictures and its values.
import { h } from "./dom.js";

const PICTURE = /^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]+$/;

// What changed since the state before is shown first; the rest is open or one click away.
export function stateOf(state, before, open) {
  if (state === null) return null;
  const pictures = [],
    values = valuesOf(apart(state, pictures)),
    earlier = new Map(before === null ? values : valuesOf(apart(before, [])));
  const changed = values.filter(([name, text]) => earlier.get(name) !== text),
    rest = values.filter(([name, text]) => earlier.get(name) === text);
  return h(
    "div",
    { class: "state" },
    pictures.map((src) =>
      h("button", { class: "picture", title: "larger", onclick: () => enlarge(src) }, pictureOf(src)),
    ),
    changed.length ? list(changed, "changed") : null,
    rest.length ? h("details", { open }, h("summary", {}, before === null ? "state" : "unchanged"), list(rest)) : null,
  );
}

const list = (values, kind) =>
  h(
    "dl",
    { class: kind },
    values.map(([name, text]) => h("div", {}, name === null ? null : h("dt", {}, name), h("dd", { dir: "auto" }, text))),
  );

const pictureOf = (src) => h("img", { src, alt: "picture of the environment", loading: "lazy" });

// Until a click, or the key Escape.
function enlarge(src) {
  const box = h(
    "dialog",
    { class: "picture", onclose: () => box.remove(), onclick: () => box.close() },
    pictureOf(src),
  );
  document.body.append(box);
  box.showModal();
}

// The state without its pictures, which are put into a list.
function apart(value, pictures) {
  if (typeof value === "string" && PICTURE.test(value)) {
    pictures.push(value);
    return undefined;
  }
  if (Array.isArray(value)) return value.map((inner) => apart(inner, pictures)).filter((inner) => inner !== undefined);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, inner]) => [name, apart(inner, pictures)])
      .filter(([, inner]) => inner !== undefined),
  );
}

function valuesOf(state) {
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  if (state === undefined) return [];
  if (state === null || typeof state !== "object" || Array.isArray(state)) return [[null, text(state)]];
  return Object.entries(state).map(([name, value]) => [name, text(value)]);
}
