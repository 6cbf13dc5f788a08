// Helpers that find and create elements. Log content is only ever set as text
// or as an attribute value, never as markup; the page's Content-Security-Policy
// enforces this with Trusted Types.

import { ago } from "./time.js";

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const COPY_FEEDBACK_MS = 1200;
const MAX_MARKS = 100;
const AGE_MS = 1000;

/**
 * Returns the element of index.html with the given id.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type] the class that the element must have
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof (type ?? HTMLElement))) throw new Error(`no such element: ${id}`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {string} className
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/**
 * @param {string} className
 * @param {(Node | string)[]} children
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
export function button(className, children, onClick) {
  const made = element("button", className, ...children);
  made.type = "button";
  made.onclick = onClick;
  return made;
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svgElement(name, attributes, ...children) {
  const made = document.createElementNS(SVG_NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/**
 * Returns an element that shows how long ago a time was, and stays up to date.
 * @param {number} ms
 */
export function ageElement(ms) {
  const age = element("span", "age", ago(ms));
  age.dataset.time = String(ms);
  return age;
}

setInterval(() => {
  for (const age of document.querySelectorAll(".age")) {
    if (age instanceof HTMLElement) age.textContent = ago(Number(age.dataset.time));
  }
}, AGE_MS);

/**
 * Returns text split into nodes, with each match of a pattern in a mark element.
 * @param {string} text
 * @param {RegExp | null} pattern
 * @returns {(Node | string)[]}
 */
export function highlighted(text, pattern) {
  if (!pattern) return [text];
  const parts = [];
  let from = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    if (parts.length >= MAX_MARKS) break;
    parts.push(text.slice(from, index), element("mark", "", match));
    from = index + match.length;
  }
  return [...parts, text.slice(from)];
}

/**
 * Returns text without terminal color codes, also without those in kinds, which have #
 * instead of numbers. Characters that change the direction of the text around them are
 * replaced by their code.
 * @param {string} text
 */
export function visibleControls(text) {
  return text.replace(/\x1b\[[\d;#]*m/g, "").replace(
    /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (control) => `⟨U+${control.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
}

/**
 * @param {string} className
 * @param {string} label
 * @param {() => string} text returns the text to copy
 * @returns {HTMLButtonElement}
 */
export function copyButton(className, label, text) {
  const made = button(className, [label], () => copyFor(made, label, text()));
  return made;
}

/**
 * Copies text, and shows the result in a button for a moment.
 * @param {HTMLButtonElement} shown
 * @param {string} label of the button
 * @param {string} text
 */
export async function copyFor(shown, label, text) {
  shown.textContent = (await copyText(text)) ? "Copied" : "Copying failed";
  setTimeout(() => {
    shown.textContent = label;
  }, COPY_FEEDBACK_MS);
}

/**
 * @param {string} text
 * @returns {Promise<boolean>} whether the text was copied
 */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelection(text);
  }
}

/**
 * Copies text with the deprecated command. Browsers offer no other clipboard
 * to a page that was loaded over plain HTTP.
 * @param {string} text
 * @returns {boolean} whether the text was copied
 */
function copySelection(text) {
  const area = element("textarea", "visually-hidden");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}

/**
 * @param {number} n
 * @returns {string} n with a comma between thousands
 */
export function formatCount(n) {
  return n.toLocaleString("en");
}
