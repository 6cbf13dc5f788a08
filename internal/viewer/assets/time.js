// Parses and formats times. All times are in milliseconds since the epoch.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

// The lengths of a time of day with seconds (15:04:05) and without them (15:04).
const SECONDS = 8;
const MINUTES = 5;

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/**
 * Parses a stored timestamp. A time without a zone is in UTC, as on the server.
 * @param {string} text
 * @returns {number} NaN if text is not a time
 */
export function parseTime(text) {
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return NaN;
  const iso = text.replace(" ", "T");
  const isDate = text.length <= 10;
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(text);
  return Date.parse(isDate || hasZone ? iso : iso + "Z");
}

/**
 * @param {number} ms
 * @param {boolean} utc
 */
function timeParts(ms, utc) {
  // Shift local times, so that the UTC format has their parts.
  const offset = utc ? 0 : new Date(ms).getTimezoneOffset() * MINUTE * 1000;
  const [date, clock] = new Date(ms - offset).toISOString().slice(0, -1).split("T");
  const day = date.slice(-2);
  return { date, year: date.slice(0, -6), month: MONTHS[Number(date.slice(-5, -3)) - 1], day, clock };
}

/**
 * Formats a stored timestamp for the list. Text that is not a time is returned
 * unchanged.
 * @param {string} text
 * @param {boolean} utc
 */
export function rowTime(text, utc) {
  const ms = parseTime(text);
  if (isNaN(ms)) return text;
  const { date, year, month, day, clock } = timeParts(ms, utc);
  const isThisYear = year === timeParts(Date.now(), utc).year;
  return isThisYear ? `${month} ${day} ${clock}` : `${date} ${clock.slice(0, SECONDS)}`;
}

/**
 * Formats a time as short as a scale with the given step allows.
 * @param {number} ms
 * @param {number} step in seconds
 * @param {boolean} utc
 */
export function shortTime(ms, step, utc) {
  const { date, year, month, day, clock } = timeParts(ms, utc);
  const now = timeParts(Date.now(), utc);
  const monthDay = `${month} ${Number(day)}`;
  const short = year === now.year ? monthDay : `${year} ${monthDay}`;
  if (step >= DAY) return short;
  const time = clock.slice(0, step < MINUTE ? SECONDS : MINUTES);
  return date === now.date ? time : `${short}, ${time}`;
}

/**
 * Formats a time with milliseconds and zone.
 * @param {number} ms
 * @param {boolean} utc
 */
export function fullTime(ms, utc) {
  const { date, clock } = timeParts(ms, utc);
  return `${date} ${clock} ${utc ? "UTC" : zoneName(ms)}`;
}

/**
 * Formats a time as the value of a datetime-local input.
 * @param {number} ms
 * @param {boolean} utc
 */
export function inputTime(ms, utc) {
  const { date, clock } = timeParts(ms, utc);
  return `${date}T${clock.slice(0, SECONDS)}`;
}

/**
 * Formats a time for the since and until parameters.
 * @param {number} ms
 */
export function isoTime(ms) {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

/**
 * Returns the short name of the browser's time zone at the given time.
 * @param {number} ms
 */
export function zoneName(ms) {
  const format = new Intl.DateTimeFormat("en", { timeZoneName: "short" });
  const part = format.formatToParts(ms).find((p) => p.type === "timeZoneName");
  return part ? part.value : "local";
}

/**
 * Expresses a duration in its largest unit.
 * @param {number} seconds
 * @returns {[count: number, unit: string]}
 */
function largestUnit(seconds) {
  if (seconds < MINUTE) return [seconds, "second"];
  if (seconds < HOUR) return [seconds / MINUTE, "minute"];
  if (seconds < DAY) return [seconds / HOUR, "hour"];
  return [seconds / DAY, "day"];
}

/**
 * Formats how long ago a time was: "3 minutes ago", "in 1 hour".
 * @param {number} ms
 */
export function ago(ms) {
  const seconds = Math.round((Date.now() - ms) / 1000);
  const [count, unit] = largestUnit(Math.abs(seconds));
  const whole = Math.floor(count);
  const text = `${whole.toLocaleString("en")} ${unit}${whole === 1 ? "" : "s"}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

/**
 * Formats the step of the histogram for use after "per": "minute", "5 minutes".
 * @param {number} seconds
 */
export function stepName(seconds) {
  const [count, unit] = largestUnit(seconds);
  return count === 1 ? unit : `${count} ${unit}s`;
}

/**
 * Reports whether a since parameter is a duration back from now, such as "15m".
 * @param {string} since
 */
export function isRelative(since) {
  return /^[\d.]+\D/.test(since) && !since.includes("-");
}
