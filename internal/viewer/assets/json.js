// A JSON parser that keeps every number as it is written. JSON.parse would round
// the integer 12345678901234567890.

const MAX_DEPTH = 500;
const MAX_PREVIEW = 300;
const MAX_PREVIEW_VALUE = 120;
const MAX_PREVIEW_SOURCE = 4000;

/**
 * Parses JSON that the server has validated. Throws if text is incomplete, or
 * if it is nested too deep to be shown as a tree.
 * @param {string} text
 * @returns {JSONNode}
 */
export function parseJSON(text) {
  return new Parser(text).value(0);
}

class Parser {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.scalarPattern = /"(?:[^"\\]|\\.)*"|[^\s,:{}\[\]"]+/y;
  }

  /**
   * @param {number} depth
   * @returns {JSONNode}
   */
  value(depth) {
    this.skipSpace();
    const first = this.text[this.at];
    if (first === "{" || first === "[") return this.container(depth);
    return this.scalar();
  }

  /**
   * @param {number} depth
   * @returns {Container}
   */
  container(depth) {
    if (depth > MAX_DEPTH) throw new RangeError("nested too deep");
    const start = this.at;
    const isObject = this.text[start] === "{";
    const end = isObject ? "}" : "]";
    /** @type {Member[]} */
    const members = [];
    this.at++;
    this.skipSpace();
    while (this.text[this.at] !== end) {
      if (this.at >= this.text.length) throw new SyntaxError("unexpected end of JSON");
      const name = isObject ? this.name() : undefined;
      members.push({ name, node: this.value(depth + 1) });
      this.skipSpace();
      if (this.text[this.at] === ",") this.at++;
      this.skipSpace();
    }
    this.at++;
    const text = this.text.slice(start, this.at);
    return { type: isObject ? "object" : "array", text, members };
  }

  /** Reads the name of a member and its colon. */
  name() {
    const { value } = this.scalar();
    this.skipSpace();
    this.at++;
    return value;
  }

  /** @returns {Scalar} */
  scalar() {
    this.scalarPattern.lastIndex = this.at;
    const match = this.scalarPattern.exec(this.text);
    if (!match) throw new SyntaxError("expected a JSON value");
    const text = match[0];
    this.at += text.length;
    if (text[0] === '"') return { type: "string", text, value: JSON.parse(text) };
    return { type: /[-\d]/.test(text[0]) ? "number" : "word", text, value: text };
  }

  skipSpace() {
    while (this.at < this.text.length && " \t\r\n".includes(this.text[this.at])) this.at++;
  }
}

/**
 * @param {JSONNode} node
 * @returns {node is Container}
 */
export function isContainer(node) {
  return node.type === "object" || node.type === "array";
}

/**
 * Returns the first fields of details in one line.
 * @param {string} details JSON text
 */
export function previewDetails(details) {
  if (details === "null") return "";
  if (details.length > MAX_PREVIEW_SOURCE) return details.slice(0, MAX_PREVIEW);
  try {
    return previewNode(parseJSON(details));
  } catch {
    return details.slice(0, MAX_PREVIEW);
  }
}

/**
 * Returns JSON text with indentation. Values are kept as written.
 * @param {JSONNode} node
 * @param {string} indent of the line that the value starts in
 * @returns {string}
 */
export function indentedJSON(node, indent) {
  if (!isContainer(node) || !node.members.length) return node.text;
  const inner = `${indent}  `;
  const lines = node.members.map(({ name, node: value }) => {
    const start = name === undefined ? inner : `${inner}${JSON.stringify(name)}: `;
    return start + indentedJSON(value, inner);
  });
  const [open, close] = node.type === "object" ? "{}" : "[]";
  return `${open}\n${lines.join(",\n")}\n${indent}${close}`;
}

/** @param {JSONNode} node */
function previewNode(node) {
  if (!isContainer(node)) return node.value;
  if (node.type === "array") return previewValue(node).slice(0, MAX_PREVIEW);
  let preview = "";
  for (const { name, node: item } of node.members) {
    if (preview.length > MAX_PREVIEW) break;
    preview += ` ${name}=${previewValue(item).slice(0, MAX_PREVIEW_VALUE)}`;
  }
  return preview;
}

/** @param {JSONNode} node */
function previewValue(node) {
  if (node.type === "string") return node.value;
  return unescaped(node.text);
}

/**
 * Returns JSON text with escaped letters as letters.
 * @param {string} text
 */
export function unescaped(text) {
  return text.replace(/\\u(?!00[01])[\da-f]{4}/gi, (escape) => JSON.parse(`"${escape}"`));
}

/**
 * Returns the value of a field in one line, "" if details do not have it.
 * @param {string} details JSON text
 * @param {string} path names joined by dots, which names may also contain
 */
export function fieldValue(details, path) {
  try {
    const node = nodeAt(parseJSON(details), path);
    return node ? previewValue(node) : "";
  } catch {
    return "";
  }
}

/**
 * @param {JSONNode} node
 * @param {string} path
 * @returns {JSONNode | null}
 */
function nodeAt(node, path) {
  if (node.type !== "object") return null;
  for (const { name = "", node: value } of node.members) {
    if (name === path) return value;
    const found = path.startsWith(`${name}.`) ? nodeAt(value, path.slice(name.length + 1)) : null;
    if (found) return found;
  }
  return null;
}
