// Light, dark, or as the system has it.
const NAMES = { auto: "as the system", light: "light", dark: "dark" };
const ORDER = Object.keys(NAMES);

function stored() {
  try {
    return localStorage.getItem("aepo-theme");
  } catch {
    return null; // a browser may refuse storage to a file
  }
}

export function startTheme() {
  set(ORDER.includes(stored()) ? stored() : "auto");
}

export function nextTheme() {
  const name = ORDER[(ORDER.indexOf(document.documentElement.dataset.theme) + 1) % ORDER.length];
  set(name);
  try {
    localStorage.setItem("aepo-theme", name);
  } catch {
    /* it holds until the page is left */
  }
  return NAMES[name];
}

function set(name) {
  document.documentElement.dataset.theme = name;
}
