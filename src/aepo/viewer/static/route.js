// The page's address: #/ a run, #/10 its section, #/10/0.3 question 3 of run 0 in it; then ?path=2 and the like.
export function here() {
  const [way, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [section, question] = way.split("/").filter(Boolean).map(decodeURIComponent);
  const [run, index] = (question ?? "").split(".").map(Number);
  return { section, question, run, index, query: new URLSearchParams(query) };
}

export function addressOf(section, question, query = {}) {
  const way = [section, question]
    .filter((part) => part !== undefined && part !== null)
    .map(encodeURIComponent)
    .join("/");
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined));
  return `#/${way}${asked.size ? `?${asked}` : ""}`;
}

export function go(address) {
  location.hash = address;
}

// Remember a choice without leaving the page, and without a step in the browser's history.
export function note(name, value) {
  const { section, question, query } = here();
  query.set(name, value);
  history.replaceState(null, "", addressOf(section, question, Object.fromEntries(query)));
}
