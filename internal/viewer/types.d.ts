// The types that the modules of the page share. The browser does not load this
// file.

type Level = "fatal" | "error" | "unknown" | "warn" | "info" | "debug" | "trace";

/** The number of entries of each level. */
type Counts = Partial<Record<Level, number>>;

/** A field of details and a value. Dots in the name separate nested names. */
type Field = [name: string, value: string];

/** The filters and the view. The page's address contains all of it. */
interface Query {
  /** text to search for, literally */
  q: string;
  /** what the search box has: words, "phrases" and -excluded words */
  words: string;
  /** the pattern of messages, as /logs/kinds returns it; null if any matches */
  kind: string | null;
  /** levels, or level names as stored; empty for all */
  levels: string[];
  /** a time, or a duration back from now */
  since: string;
  /** a time */
  until: string;
  /** values that details must have */
  fields: Field[];
  /** level names and values that entries must not have */
  notLevels: string[];
  notFields: Field[];
  /** whether the oldest entries come first */
  asc: boolean;
  /** whether kinds of entries are shown instead of entries */
  showsKinds: boolean;
  /** whether the fields of the entries are shown beside them */
  showsFields: boolean;
  /** names of fields that have a column */
  cols: string[];
  /** whether rows are as high as their text */
  wrap: boolean;
  /** whether times are shown in UTC */
  utc: boolean;
  /** whether the live tail is paused */
  paused: boolean;
  /** the id of the opened entry, or 0 */
  open: number;
  /** whether single-key shortcuts are turned off */
  noKeys: boolean;
}

/** A parameter of the address. */
type Param = [name: string, value: string];

/** A filter of a query. */
interface Filter {
  text: string;
  params: Param[];
  /** returns a query with the opposite of the filter, if it has one */
  invert?: (query: Query) => Query;
}

/** A row of the list: an entry, or a gap between entries. */
interface Entry {
  /** for a gap, the id of the entry below it plus one half */
  id: number;
  /** the level as stored */
  levelName: string;
  level: Level;
  message: string;
  /** as stored */
  timestamp: string;
  /** the timestamp in ms since the epoch, NaN if it is not a time */
  time: number;
  /** as stored: JSON text, "null" if there are none */
  details: string;
  /** whether the tail delivered the entry and it was not shown yet */
  isNew: boolean;
  gap?: Gap;
}

/** Ids between which entries are missing. Both ids are exclusive. */
interface Gap {
  after: number;
  before: number;
}

/** The histogram: counts of entries over time. Times are in ms. */
interface Chart {
  /** the width of a bucket */
  step: number;
  /** the start of the first bucket, NaN if there is none */
  first: number;
  /** the end of the last bucket */
  end: number;
  /** how many entries are before first, or after end */
  earlier: number;
  later: number;
  /** counts of all entries, also of those without a time */
  levels: Counts;
  /** by their start */
  buckets: Map<number, Counts>;
  /** the chart counts all entries up to this id */
  upTo: number;
}

/** "off" if a retry would not help, or if no tail was started. */
type TailStatus = "on" | "connecting" | "off";

interface State {
  query: Query;
  /** aborted by the next load, ends all its requests */
  loading: AbortController;
  /** whether entries are being loaded */
  isBusy: boolean;
  isLoadingMore: boolean;
  /** why loading failed, or "" */
  failure: string;
  /** the loaded entries in the order in which they are shown */
  entries: Entry[];
  /** whether entries includes the oldest one */
  atEnd: boolean;
  /** whether entries starts at query.open and not at the newest */
  anchored: boolean;
  /** whether entries are sorted by time and not by id */
  sorted: boolean;
  /** the id of query.open, if the server does not find that entry; otherwise 0 */
  missing: number;
  /** whether new entries are added at the top as they arrive */
  following: boolean;
  /** how many kinds there are, if they are shown */
  kinds: number;
  /** the id of the entry that the keyboard acts on, or 0 */
  selected: number;
  /** the ids of opened entries */
  opened: Set<number>;
  /** the last chart that was loaded; it may belong to the previous query */
  chart: Chart | null;
  /** ends the live tail when aborted */
  tailing: AbortController;
  tail: TailStatus;
  /** whether a tail has sent anything since the last load */
  tailHeard: boolean;
  /** the tail resumes after this id; -1 until it is known */
  tailFrom: number;
  /** the highest id in entries */
  newest: number;
  /** entries that the tail delivered, the oldest first, not yet in entries */
  pending: Entry[];
}

interface Scalar {
  /** word is true, false or null */
  type: "string" | "number" | "word";
  /** the JSON text */
  text: string;
  /** for a string its content, otherwise the JSON text */
  value: string;
}

interface Container {
  type: "object" | "array";
  /** the JSON text */
  text: string;
  members: Member[];
}

interface Member {
  /** undefined in an array */
  name?: string;
  node: JSONNode;
}

type JSONNode = Scalar | Container;
