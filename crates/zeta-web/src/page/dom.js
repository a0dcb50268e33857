// Making and changing elements. Text of agents goes through `put` alone: it is never markup.

const shown = new WeakMap();

/** Makes an element with a class, children and attributes. */
export function make(tag, name = "", children = [], attributes = {}) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Sets the text of an element, if it is another one. */
export function put(element, text) {
  if (shown.get(element) === text) return;
  shown.set(element, text);
  // Another text in the same node costs the browser less than another node.
  const node = element.firstChild;
  if (node instanceof Text && !node.nextSibling) node.data = text;
  else element.textContent = text;
}

/** Sets an attribute, if it has another value. */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

const SVG = "http://www.w3.org/2000/svg";

/** Makes a sign of the sprite in index.html. */
export function makeIcon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("viewBox", "0 0 16 16");
  setIcon(svg, name);
  return svg;
}

/** Shows another sign. Its lines are copied: a reference costs the browser a tree of its own. */
export function setIcon(svg, name) {
  if (svg.dataset.icon === name) return;
  svg.dataset.icon = name;
  svg.replaceChildren(...document.getElementById(`i-${name}`).cloneNode(true).children);
}
