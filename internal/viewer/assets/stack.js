// Shows text with line breaks. In a stack trace, causes are bold, and the frames
// of libraries are dimmed and folded.

import { element } from "./dom.js";
import { marked } from "./state.js";

const MIN_FOLDED = 2; // frames
const MAX_LINES = 5000; // that get elements of their own
const CAUSE = /^\s*(Caused by|Suppressed|Wrapped by|During handling of|The above exception)\b/;
const FRAME = /^\s*(at |File "|from |#\d+ |\S+\.go:\d+)/;
const LIBRARY = new RegExp(
  [
    "node_modules/|node:|internal/modules/", // JavaScript
    "^\\s*at (java|javax|jakarta|jdk|sun|com\\.sun|kotlin|scala|org\\.(spring|apache|hibernate|junit)|io\\.netty" +
      "|reactor|com\\.zaxxer|com\\.fasterxml|org\\.postgresql)[.\\w]", // Java
    "site-packages/|dist-packages/|lib/python\\d", // Python
    "/go/pkg/mod/|/usr/(local|lib)/go/|/libexec/src/", // Go
    "^\\s*at (System|Microsoft)\\.", // .NET
    "/gems/|/vendor/|lib/ruby/", // Ruby, PHP
    "^\\s*\\.\\.\\. \\d+ ", // Java: "... 12 more"
  ].join("|"),
);

/**
 * Returns a block that shows text with line breaks.
 * @param {string} text
 */
export function textBlock(text) {
  const block = element("div", "block");
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; ) {
    if (i > MAX_LINES) {
      block.append(...marked(lines.slice(i).join("\n")));
      break;
    }
    const end = libraryEnd(lines, i);
    const folded = lines.slice(i, end);
    if (folded.length >= MIN_FOLDED) {
      block.append(foldedLines(folded));
      i = end;
    } else {
      block.append(lineElement(lines[i], i < lines.length - 1));
      i++;
    }
  }
  return block;
}

/**
 * Returns the end of the frames of libraries that start at a line. A frame of
 * Python or Go has two lines, and only one of them has the path.
 * @param {string[]} lines
 * @param {number} from
 */
function libraryEnd(lines, from) {
  let end = from;
  while (end < lines.length) {
    if (LIBRARY.test(lines[end])) end += isPythonFrame(lines, end) ? 2 : 1;
    else if (isCall(lines[end]) && LIBRARY.test(lines[end + 1] ?? "")) end += 2;
    else break;
  }
  return end;
}

/**
 * Reports whether a line has the form f(x), in time proportional to its length.
 * @param {string} line
 */
function isCall(line) {
  return line.endsWith(")") && /^\S+\(/.test(line);
}

/**
 * @param {string[]} lines
 * @param {number} i
 */
function isPythonFrame(lines, i) {
  return /^\s*File "/.test(lines[i]) && /^\s{4}/.test(lines[i + 1] ?? "");
}

/** @param {string[]} lines */
function foldedLines(lines) {
  const frames = lines.filter((line) => FRAME.test(line) || isCall(line)).length || lines.length;
  const summary = element("summary", "", `${frames} library frame${frames === 1 ? "" : "s"}`);
  const folded = element("details", "library", summary);
  for (const line of lines) folded.append(lineElement(line, true));
  // A fold must not hide what the user searches for.
  folded.open = folded.querySelector("mark") !== null;
  return folded;
}

/**
 * @param {string} line
 * @param {boolean} hasBreak
 */
function lineElement(line, hasBreak) {
  const name = CAUSE.test(line) ? "b" : "span";
  return element(name, LIBRARY.test(line) ? "library" : "", ...marked(line), hasBreak ? "\n" : "");
}
