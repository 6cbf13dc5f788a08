package logread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log-ingester/internal/dbfile"
	"log-ingester/internal/entry"
	"log-ingester/internal/httpapi"
	"log/slog"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

const (
	maxReads     = 4                // scans for /logs and /logs/histogram at a time
	readPatience = time.Second      // how long a request waits for its turn
	readTimeout  = 10 * time.Second // of scanning; the time a client takes to read does not count

	// A statement sees at most this many ids and then ends, so that no read
	// holds back the WAL for longer than some milliseconds.
	blockBits = 14
	// Block times are forgotten when there are more: 128 million entries.
	maxBlockTimes = 8192

	// A scan looks whether it is to end after this many bytes of text, or as many
	// KiB of entries.
	scanStep = 256 << 10

	maxFetch = 256 // entries fetched in one statement
)

// A Reader answers the requests that read the log. It has connections of its
// own, which cannot write, and never waits for the writer.
type Reader struct {
	db       *sql.DB
	log      *slog.Logger
	timeout  time.Duration
	patience time.Duration

	// Who holds the number of a scan may use scans[number]. SQLite finds the
	// scan by that number, when it calls log_visit.
	scans     [maxReads + maxTailReads]logScan
	reads     chan int // numbers for /logs and /logs/histogram
	tailReads chan int // numbers for tails

	mu         sync.Mutex
	blockTimes map[int64]timeSpan // by id >> blockBits
	tails      map[chan struct{}]struct{}
	stopWatch  chan struct{} // closed when the last tail goes

	newest  atomic.Int64    // the highest id known to be committed
	wake    chan struct{}   // holds a token when newest has changed
	ctx     context.Context // ends the tails
	cancel  context.CancelFunc
	running sync.WaitGroup // tails and what watches for them
}

// A timeSpan holds the earliest and the latest time of some entries.
type timeSpan struct{ first, last int64 }

// A logScan is the state of one pass over the log. It belongs to the goroutine
// that runs the pass.
type logScan struct {
	ctx       context.Context
	filter    *logFilter
	count     func(level string, t int64, dated bool) // counts an entry that matches, in place of returning it
	unwatched int                                     // bytes since ctx was looked at, and 1 KiB for each entry
	found     []int64                                 // ids of those that match, in the current block
	times     timeSpan                                // of the entries seen in the current block
	scratch   []byte
}

// A logRow is an entry as it stands in the table. Its bytes are good until the
// next one is read.
type logRow struct {
	id                        int64
	level, message, timestamp sql.RawBytes
	details                   sql.RawBytes // nil: NULL
}

// Open opens the database at path, which must exist, for reading.
func Open(path string, log *slog.Logger) (*Reader, error) {
	r := &Reader{
		log:        log,
		timeout:    readTimeout,
		patience:   readPatience,
		reads:      make(chan int, maxReads),
		tailReads:  make(chan int, maxTailReads),
		blockTimes: make(map[int64]timeSpan),
		tails:      make(map[chan struct{}]struct{}),
		wake:       make(chan struct{}, 1),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for i := range r.scans {
		if i < maxReads {
			r.reads <- i
		} else {
			r.tailReads <- i
		}
	}
	file, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening for reading: %w", err)
	}
	c := &readConnector{file: dbfile.File{Name: path, Info: file}, dsn: dbfile.URI(path) +
		"?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(1000)&_pragma=cache_size(-512)"}
	err = c.driver.RegisterFunction("log_visit", &sqlite.FunctionImpl{
		NArgs:        6,
		Scalar:       r.logVisit,
		VolatileArgs: true, // logVisit keeps none of them
	})
	if err != nil {
		return nil, fmt.Errorf("preparing to read the log: %w", err)
	}
	r.db = sql.OpenDB(c)
	r.db.SetMaxOpenConns(len(r.scans) + 1) // and one to learn the newest id
	r.db.SetMaxIdleConns(2)
	r.db.SetConnMaxIdleTime(10 * time.Second)
	return r, nil
}

// A readConnector opens connections that know log_visit.
type readConnector struct {
	driver sqlite.Driver
	file   dbfile.File
	dsn    string
}

// Connect opens no other file than the writer has open: in one process, SQLite
// would take the WAL and its index, which are found by their names, for those
// of both.
func (c *readConnector) Connect(context.Context) (driver.Conn, error) {
	if _, err := c.file.Check(); err != nil {
		return nil, err
	}
	return c.driver.Open(c.dsn)
}

func (c *readConnector) Driver() driver.Driver { return &c.driver }

// close ends the tails and closes the connections; reads in hand may come to
// their end.
func (r *Reader) Close() error {
	r.EndTails()
	r.running.Wait()
	return r.db.Close()
}

func (r *Reader) newestID(ctx context.Context) (int64, error) {
	var id sql.NullInt64
	err := r.db.QueryRowContext(ctx, "SELECT max(id) FROM logs").Scan(&id)
	return id.Int64, err
}

// logVisit is the SQL function log_visit(scan, id, level, message, timestamp,
// details): it lets a scan see an entry. It is never true, so that no entry is
// handed out by way of SQL. Columns that the scan does not look at may be NULL.
func (r *Reader) logVisit(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	s := &r.scans[args[0].(int64)]
	message, details := columnText(args[3]), columnText(args[5])
	if s.unwatched += 1<<10 + len(message) + len(details); s.unwatched >= scanStep {
		if s.unwatched = 0; s.ctx.Err() != nil {
			return nil, s.ctx.Err()
		}
	}
	var t int64
	var dated bool
	if s.filter.timed || s.count != nil {
		if t, dated = entry.ParseStoredTime(columnText(args[4])); dated {
			s.times.first = min(s.times.first, t)
			s.times.last = max(s.times.last, t)
		}
	}
	if s.filter.timed && (!dated || t < s.filter.since || t >= s.filter.until) {
		return false, nil
	}
	level := columnText(args[2])
	if !s.filter.matches(level, message, details, &s.scratch) {
		return false, nil
	}
	if s.count != nil {
		s.count(level, t, dated)
	} else {
		s.found = append(s.found, args[1].(int64))
	}
	return false, nil
}

// columnText returns a column as text. Only other programs store anything else.
func columnText(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return ""
}

// errScanTooLong is what ends a scan after Reader.timeout.
var errScanTooLong = errors.New("the scan took too long")

// A logSink takes what a scan finds.
type logSink struct {
	// add takes an entry, and returns true when it holds enough for now.
	add func(*logRow) bool
	// flush is called after add returned true, while no statement is open, so
	// that it may take its time.
	flush func() error
	// count, if set, takes the entries in place of add. Its level is good until
	// it returns, and t is in Unix nanoseconds where dated.
	count func(level string, t int64, dated bool)
}

// scan hands to sink the entries with after < id < before that the filter
// wants, newest first, at most limit of them, as the holder of a scan's number.
func (r *Reader) scan(ctx context.Context, number int, q *logQuery, sink logSink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	left, since := r.timeout, time.Now()
	timer := time.AfterFunc(left, func() { cancel(errScanTooLong) })
	defer timer.Stop()
	if flush := sink.flush; flush != nil {
		sink.flush = func() error {
			timer.Stop()
			left -= time.Since(since)
			err := flush()
			since = time.Now()
			timer.Reset(left)
			return err
		}
	}

	conn, err := r.db.Conn(ctx)
	if err == nil {
		defer conn.Close() // gives it back to the pool
		if q.everything() && sink.count == nil {
			err = scanAll(ctx, conn, q, sink)
		} else {
			err = r.scanBlocks(ctx, conn, number, q, sink)
		}
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// scanAll is a scan for a filter that wants everything.
func scanAll(ctx context.Context, conn *sql.Conn, q *logQuery, sink logSink) error {
	fetch, err := conn.PrepareContext(ctx, "SELECT id, level, message, timestamp, details FROM logs"+
		" WHERE id < ? AND id > ? ORDER BY id DESC LIMIT ?")
	if err != nil {
		return err
	}
	defer fetch.Close()
	for before, limit := q.before, q.limit; limit > 0; {
		rows, err := fetch.QueryContext(ctx, before, q.after, limit)
		if err != nil {
			return err
		}
		n, last, full, err := sink.take(rows)
		if err != nil || !full {
			return err
		}
		if err := sink.flush(); err != nil {
			return err
		}
		before, limit = last, limit-n
	}
	return nil
}

// scanBlocks is a scan that looks for what the filter wants. It goes down from
// the newest entry in blocks of ids, with a statement each. Within a block it
// goes up, since the kernel reads ahead that way only: from a disk, going down
// takes ten times as long. What is found is fetched by id.
//
// It leaves out blocks where, as an earlier scan found, no entry has a time
// between since and until. A block's times are remembered if an entry above it
// was there before it was looked through. This relies on ids that go up and
// entries that stay as they are, as AUTOINCREMENT and the writer have it.
func (r *Reader) scanBlocks(ctx context.Context, conn *sql.Conn, number int, q *logQuery, sink logSink) error {
	next, err := conn.PrepareContext(ctx, "SELECT max(id) FROM logs WHERE id <= ?")
	if err != nil {
		return err
	}
	defer next.Close()
	visit, err := conn.PrepareContext(ctx, visitStatement(q, sink.count != nil))
	if err != nil {
		return err
	}
	defer visit.Close()
	fetch, err := conn.PrepareContext(ctx, "SELECT id, level, message, timestamp, details FROM logs"+
		" WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC")
	if err != nil {
		return err
	}
	defer fetch.Close()

	s := &r.scans[number]
	*s = logScan{ctx: ctx, filter: &q.logFilter, count: sink.count}
	defer func() { *s = logScan{} }()
	newest, limit := r.newest.Load(), q.limit // newest is the highest id known to be there
	for top := q.before - 1; top > q.after && limit > 0; {
		var existing sql.NullInt64
		if err := next.QueryRowContext(ctx, top).Scan(&existing); err != nil {
			return err
		}
		if !existing.Valid || existing.Int64 <= q.after {
			return nil
		}
		newest = max(newest, existing.Int64)
		block := existing.Int64 >> blockBits
		first, last := block<<blockBits, block<<blockBits|(1<<blockBits-1)
		span, known := r.blockTime(block)
		if !q.timed || !known || span.last >= q.since && span.first < q.until {
			s.found, s.times = s.found[:0], timeSpan{math.MaxInt64, math.MinInt64}
			if _, err := visit.ExecContext(ctx, existing.Int64, max(first, q.after+1), number); err != nil {
				return err
			}
			if (q.timed || sink.count != nil) && top >= last && first > q.after && last < newest {
				r.setBlockTime(block, s.times)
			}
			n, err := fetchFound(ctx, fetch, s.found, limit, sink)
			if err != nil {
				return err
			}
			limit -= n
		}
		if first <= q.after {
			return nil
		}
		top = first - 1
	}
	return nil
}

// fetchFound hands the newest of the entries found to sink, at most limit of
// them, and returns how many there were.
func fetchFound(ctx context.Context, fetch *sql.Stmt, found []int64, limit int, sink logSink) (total int, err error) {
	var list []byte // a JSON array
	for len(found) > 0 && total < limit {
		group := found[max(0, len(found)-min(limit-total, maxFetch)):]
		list = append(list[:0], '[')
		for _, id := range group {
			list = append(strconv.AppendInt(list, id, 10), ',')
		}
		list[len(list)-1] = ']'
		rows, err := fetch.QueryContext(ctx, string(list))
		if err != nil {
			return total, err
		}
		n, last, full, err := sink.take(rows)
		if err != nil {
			return total, err
		}
		total += n
		found = found[:len(found)-len(group)]
		if full {
			rest, _ := slices.BinarySearch(group, last)
			found = found[:len(found)+rest]
			if err := sink.flush(); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// take adds rows until there are no more or the sink is full, and closes them.
// It returns how many it added, and the id of the last.
func (s *logSink) take(rows *sql.Rows) (n int, last int64, full bool, err error) {
	var row logRow
	for !full && rows.Next() {
		if err := rows.Scan(&row.id, &row.level, &row.message, &row.timestamp, &row.details); err != nil {
			rows.Close() // the error that counts is the first
			return n, last, false, err
		}
		full = s.add(&row)
		n, last = n+1, row.id
	}
	return n, last, full, errors.Join(rows.Err(), rows.Close())
}

// visitStatement returns the SQL that lets a scan see a block. It hands over no
// more columns than the scan looks at, as each costs time in every row.
func visitStatement(q *logQuery, counts bool) string {
	id, level, message, timestamp, details := "id", "NULL", "NULL", "NULL", "NULL"
	if counts {
		id = "NULL"
	}
	if !q.anyLevel || counts {
		level = "level"
	}
	if q.timed || counts {
		timestamp = "timestamp"
	}
	if q.text != nil {
		message, details = "message", "details"
	}
	if q.fields != nil {
		details = "details"
	}
	return "SELECT 1 FROM logs WHERE id <= ? AND id >= ? AND log_visit(?, " +
		id + ", " + level + ", " + message + ", " + timestamp + ", " + details + ") ORDER BY id"
}

func (r *Reader) blockTime(block int64) (timeSpan, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	span, known := r.blockTimes[block]
	return span, known
}

func (r *Reader) setBlockTime(block int64, span timeSpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.blockTimes) >= maxBlockTimes {
		clear(r.blockTimes)
	}
	r.blockTimes[block] = span
}

// acquire waits for one of the numbers, until the reader's patience or the
// client's ends.
func (r *Reader) acquire(ctx context.Context, numbers chan int) (int, bool) {
	timer := time.NewTimer(r.patience)
	defer timer.Stop()
	select {
	case number := <-numbers:
		return number, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0, false
}

// parseRequest reads the query of a request for data, or refuses it.
func parseRequest(w http.ResponseWriter, req *http.Request, now time.Time, extra ...string) (*logQuery, bool) {
	httpapi.SetDataHeaders(w)
	q, err := parseLogQuery(req.URL.RawQuery, now, extra...)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return nil, false
	}
	return q, true
}

// begin is parseRequest for a search. It takes a number for the scan, which the
// caller gives back to r.reads, or refuses.
func (r *Reader) begin(w http.ResponseWriter, req *http.Request, now time.Time, extra ...string) (q *logQuery, number int, ok bool) {
	if q, ok = parseRequest(w, req, now, extra...); !ok {
		return nil, 0, false
	}
	if number, ok = r.acquire(req.Context(), r.reads); !ok {
		refuseBusy(w)
	}
	return q, number, ok
}

// ServeLogs answers GET /logs: the newest entries first, as a JSON array or as
// NDJSON. An answer of more than flushSize is sent while the scan goes on; when
// that fails, the connection is closed before the answer's end, so that no
// client takes a part for the whole.
func (r *Reader) ServeLogs(w http.ResponseWriter, req *http.Request) {
	q, number, ok := r.begin(w, req, time.Now(), "before", "after", "limit")
	if !ok {
		return
	}
	defer func() { r.reads <- number }()

	a := logAnswer{w: w, gzip: httpapi.AcceptsGzip(req.Header), ndjson: httpapi.AcceptsNDJSON(req.Header)}
	err := r.scan(req.Context(), number, q, logSink{add: a.add, flush: a.flush})
	if err == nil {
		err = a.end()
	}
	if err == nil {
		return
	}
	if a.started {
		if req.Context().Err() == nil {
			r.log.Info("an answer of /logs was cut off", "err", err)
		}
		panic(http.ErrAbortHandler)
	}
	r.refuseFailed(w, req, err)
}

// refuseFailed answers a request whose scan failed.
func (r *Reader) refuseFailed(w http.ResponseWriter, req *http.Request, err error) {
	switch {
	case req.Context().Err() != nil: // nobody is there to be answered
	case errors.Is(err, errScanTooLong):
		w.Header().Set("Retry-After", "10")
		writeError(w, http.StatusServiceUnavailable, fmt.Sprintf(
			"the search was given up after %v: narrow it with since, after (an id) or a smaller limit", r.timeout))
	default:
		r.log.Error("reading the database failed", "err", err)
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, "the log cannot be read at the moment")
	}
}

func refuseBusy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeError(w, http.StatusServiceUnavailable, "as many others are reading the log as may at a time: try again in a moment")
}

func writeError(w http.ResponseWriter, status int, sentence string) {
	httpapi.WriteError(w, httpapi.Errorf(status, "%s", sentence))
}
