// The levels, and the names that stored entries use for them.

/**
 * All levels, the most severe first.
 * @type {readonly Level[]}
 */
export const LEVELS = ["fatal", "error", "unknown", "warn", "info", "debug", "trace"];

/**
 * The names of each level, in lower case. The server puts its own table into the
 * page.
 * @type {Readonly<Partial<Record<Level, readonly string[]>>>}
 */
export const LEVEL_NAMES = JSON.parse(
  document.getElementById("level-names")?.textContent ?? "{}",
);

/** @type {ReadonlyMap<string, Level>} */
const LEVEL_BY_NAME = new Map(
  LEVELS.flatMap((level) => (LEVEL_NAMES[level] ?? []).map((name) => [name, level])),
);

/**
 * Returns the level that the server gives to a stored level name. The name may
 * have an offset, as slog's "ERROR+4" has.
 * @param {string} name
 * @returns {Level}
 */
export function levelOf(name) {
  const offset = /^([^+-]+)([+-])\d+$/.exec(name);
  if (!offset) return LEVEL_BY_NAME.get(name.toLowerCase()) ?? "unknown";
  const level = LEVEL_BY_NAME.get(offset[1].toLowerCase()) ?? "unknown";
  // slog writes a level below debug as "DEBUG-4".
  return level === "debug" && offset[2] === "-" ? "trace" : level;
}

/**
 * @param {string} name
 * @returns {name is Level} whether name is a level and not only a stored name
 */
export function isLevel(name) {
  return LEVELS.some((level) => level === name);
}
