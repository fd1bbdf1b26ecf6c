// Elements and numbers. All text comes from models, tools and the web: it enters the page as text nodes and attributes,
// never as markup; the page's policy would refuse markup anyway.
const SVG = "http://www.w3.org/2000/svg";

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3))
    if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

export function h(tag, attributes = {}, ...children) {
  return made(document.createElement(tag), attributes, children);
}

export function s(tag, attributes = {}, ...children) {
  return made(document.createElementNS(SVG, tag), attributes, children);
}

export function number(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

export function signed(value, digits = 2) {
  return (Number(value?.toFixed(digits)) > 0 ? "+" : "") + number(value, digits);
}

// Three significant digits, thousands set apart.
export function figure(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (value === Math.round(value) || size >= 1000) return Math.round(value).toLocaleString("en").replace("-", "−");
  const text = size < 0.001 ? value.toExponential(1) : value.toPrecision(3);
  return text.replaceAll("-", "−");
}

// A share, to a tenth of a per cent.
export function percent(value) {
  return value === null || value === undefined ? "–" : `${number(100 * value, 1).replace(/\.0$/, "")} %`;
}

export function duration(seconds) {
  if (seconds < 0.001) return "under 1 ms";
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${number(seconds, 1)} s`;
}

export function short(text, size) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > size ? `${line.slice(0, size - 1)}…` : line;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

export function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
}
