package main

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	"modernc.org/sqlite/vtab"
)

// schema is the Rust service's table, so that its files go on being used.
const schema = `CREATE TABLE IF NOT EXISTS logs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL, message TEXT NOT NULL,
  timestamp TEXT NOT NULL, details TEXT)`

// Result codes of SQLite. https://www.sqlite.org/rescode.html
const (
	sqliteBusy = 5
	sqliteFull = 13
)

// lockWait is how long a transaction waits for another process's lock.
const lockWait = 5 * time.Second

// A database is the writer's connection to logs.db. Only the writer uses it.
//
// It speaks to the driver itself: database/sql would add its locks and copies
// to each of the calls, and hide which connection they go to.
type database struct {
	path    string
	conn    sqlConn
	pending *pendingTable

	begin, insert, commit, rollback statement

	// The last id of a commit that failed but may have been applied, or 0, and
	// how it failed.
	unsureOf  int64
	unsureWhy error
}

// A statement is a prepared one without parameters.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
}

func execute(s statement) (driver.Result, error) {
	return s.ExecContext(context.Background(), nil)
}

// sqlConn is what the driver's connections offer.
type sqlConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
}

// openDatabase opens path, or makes it, for one writer. synchronous is a value
// of SQLite's pragma of that name. A file that is not a database, or whose
// table logs has other columns, is left as it is and is an error.
func openDatabase(path, synchronous string) (_ *database, err error) {
	empty, err := isEmptyOrDatabase(path)
	if err != nil {
		return nil, err
	}
	d := &database{path: path, pending: new(pendingTable)}
	drv := new(sqlite.Driver)
	if err := drv.RegisterModule("pending", d.pending); err != nil {
		return nil, err
	}
	conn, err := drv.Open(sqliteURI(path))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	d.conn = conn.(sqlConn)
	defer func() {
		if err != nil {
			conn.Close() // what went wrong is known already
			err = fmt.Errorf("opening %s: %w", path, err)
		}
	}()

	if err := d.exec(fmt.Sprintf("PRAGMA busy_timeout=%d", lockWait.Milliseconds())); err != nil {
		return nil, err
	}
	if err := d.checkColumns(); err != nil {
		return nil, err
	}
	if empty {
		// Both have to be set before the first page is written. 8 KiB pages
		// hold some forty entries and take a third fewer page writes than 4 KiB.
		if err := d.exec("PRAGMA page_size=8192", "PRAGMA auto_vacuum=INCREMENTAL"); err != nil {
			return nil, err
		}
	}
	if err := d.exec(
		"PRAGMA journal_mode=WAL",
		"PRAGMA synchronous="+synchronous,
		"PRAGMA temp_store=MEMORY",
		"PRAGMA cache_size=-256", // rows are only added at the end
		"PRAGMA journal_size_limit=16777216",
		schema,
		"CREATE VIRTUAL TABLE temp.pending USING pending",
	); err != nil {
		return nil, err
	}
	for stmt, text := range map[*statement]string{
		&d.begin:    "BEGIN IMMEDIATE",
		&d.insert:   "INSERT INTO logs(level, message, timestamp, details) SELECT level, message, timestamp, details FROM temp.pending",
		&d.commit:   "COMMIT",
		&d.rollback: "ROLLBACK",
	} {
		prepared, err := conn.Prepare(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		*stmt = prepared.(statement)
	}
	return d, nil
}

// sqliteURI names a file to SQLite whatever characters its path has.
func sqliteURI(path string) string {
	path = filepath.ToSlash(path)
	if filepath.VolumeName(path) != "" {
		path = "/" + path
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath()
}

// fileMode is that of a new database, less the umask; SQLite gives the same to
// the WAL. Logs are not for everyone on the machine, but a reader needs no more
// than the file's group, since reading a WAL does not take writing.
const fileMode = 0o640

// isEmptyOrDatabase reports whether path is empty, and makes it where it is
// missing; a file that has anything but a database in it is an error. It must
// not be called while path is open in this process, since closing a file drops
// SQLite's locks on it.
func isEmptyOrDatabase(path string) (empty bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return false, err
	}
	defer f.Close()
	// https://www.sqlite.org/fileformat.html#magic_header_string
	magic := []byte("SQLite format 3\x00")
	head := make([]byte, len(magic))
	switch _, err := io.ReadFull(f, head); {
	case errors.Is(err, io.EOF):
		return true, nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return false, fmt.Errorf("reading %s: %w", path, err)
	case !bytes.Equal(head, magic):
		return false, fmt.Errorf("%s is not a SQLite database; name another file with -db", path)
	}
	return false, nil
}

// checkColumns makes sure that the table logs, where there is one, is ours.
func (d *database) checkColumns() error {
	rows, err := d.query("SELECT type FROM sqlite_schema WHERE name = 'logs' AND type <> 'table'")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fmt.Errorf("its logs is a %s; name another file with -db", rows[0][0])
	}
	rows, err = d.query("SELECT name FROM pragma_table_info('logs')")
	if err != nil {
		return err
	}
	var columns []string
	for _, row := range rows {
		columns = append(columns, fmt.Sprint(row[0]))
	}
	want := []string{"id", "level", "message", "timestamp", "details"}
	if len(columns) > 0 && !slices.Equal(columns, want) {
		return fmt.Errorf("its table logs has the columns %s, not %s; name another file with -db",
			strings.Join(columns, ", "), strings.Join(want, ", "))
	}
	return nil
}

func (d *database) exec(statements ...string) error {
	for _, s := range statements {
		if _, err := d.conn.ExecContext(context.Background(), s, nil); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// query returns all rows of the answer. It serves short answers.
func (d *database) query(statement string, args ...driver.Value) (all [][]driver.Value, err error) {
	rows, err := d.conn.QueryContext(context.Background(), statement, numbered(args))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statement, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		row := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(row); err {
		case nil:
			all = append(all, row)
		case io.EOF:
			return all, nil
		default:
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
}

// change runs a statement and returns how many rows it changed.
func (d *database) change(statement string, args ...driver.Value) (int64, error) {
	result, err := d.conn.ExecContext(context.Background(), statement, numbered(args))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", statement, err)
	}
	return result.RowsAffected()
}

// numbered are the arguments of a statement, for its question marks in order.
func numbered(args []driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return named
}

// write stores the rows of all batches, in their order, in one transaction, and
// returns the last row's id. After an error none of them is stored, unless
// d.unsure: then they may be, and the next call must bring the same batches.
func (d *database) write(batches []*batch) (last int64, err error) {
	if d.unsure() {
		return d.resolve(batches)
	}
	if _, err := execute(d.begin); err != nil {
		d.undo()
		return 0, fmt.Errorf("beginning a transaction: %w", err)
	}
	d.pending.batches = batches
	result, err := execute(d.insert)
	d.pending.batches = nil
	if err == nil {
		last, err = result.LastInsertId()
	}
	if err != nil {
		d.undo()
		return 0, fmt.Errorf("inserting: %w", err)
	}
	if _, err := execute(d.commit); err != nil {
		d.undo()
		d.unsureOf, d.unsureWhy = last, fmt.Errorf("committing: %w", err)
		return d.resolve(batches)
	}
	return last, nil
}

// undo rolls back. It discards the error, since SQLite may have rolled back by
// itself and then says that no transaction is active; where one is after all,
// the next BEGIN fails.
func (d *database) undo() { execute(d.rollback) }

// unsure reports whether a commit failed that may still have been applied.
func (d *database) unsure() bool { return d.unsureOf != 0 }

// resolve finds out whether the commit that failed was applied: ids are never
// used twice, so the row of the last id tells.
func (d *database) resolve(batches []*batch) (last int64, err error) {
	rows, err := d.query("SELECT level, message, timestamp, details FROM logs WHERE id = ?", d.unsureOf)
	if err != nil {
		return 0, errors.Join(d.unsureWhy, err)
	}
	last, why := d.unsureOf, d.unsureWhy
	d.unsureOf, d.unsureWhy = 0, nil
	b := batches[len(batches)-1]
	if len(rows) == 1 && slices.Equal(rows[0], b.values(len(b.rows)-1)) {
		return last, nil
	}
	return 0, why
}

// probe finds out whether the database takes writes, by writing what it
// holds already.
func (d *database) probe() error {
	rows, err := d.query("PRAGMA user_version")
	if err != nil {
		return err
	}
	return d.exec(fmt.Sprintf("PRAGMA user_version=%d", rows[0][0]))
}

// isBusy reports whether err is that another connection holds a lock.
func isBusy(err error) bool { return hasCode(err, sqliteBusy) }

// isFull reports whether err is that the disk is full.
func isFull(err error) bool { return hasCode(err, sqliteFull) }

// hasCode reports whether err is SQLite's, of a primary result code.
func hasCode(err error, code int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == code
}

// close empties the WAL into the database and closes it.
func (d *database) close() error {
	err := d.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	for _, stmt := range []statement{d.begin, d.insert, d.commit, d.rollback} {
		err = errors.Join(err, stmt.Close())
	}
	return errors.Join(err, d.conn.Close())
}

// A pendingTable shows the batches of a transaction to SQLite as a table, so
// that one INSERT … SELECT takes them all: it costs a third of binding them to
// the parameters of INSERT statements.
// https://www.sqlite.org/vtab.html
type pendingTable struct{ batches []*batch }

func (t *pendingTable) Create(ctx vtab.Context, _ []string) (vtab.Table, error) {
	return t, ctx.Declare("CREATE TABLE pending(level, message, timestamp, details)")
}

func (t *pendingTable) Connect(ctx vtab.Context, args []string) (vtab.Table, error) {
	return t.Create(ctx, args)
}

func (t *pendingTable) BestIndex(*vtab.IndexInfo) error { return nil }
func (t *pendingTable) Disconnect() error               { return nil }
func (t *pendingTable) Destroy() error                  { return nil }

func (t *pendingTable) Open() (vtab.Cursor, error) {
	return &pendingCursor{table: t}, nil
}

// A pendingCursor stands on a row of its table's batches.
type pendingCursor struct {
	table *pendingTable
	batch int
	row   int
	start uint32 // of the row in its batch's text
}

// Filter begins at the first row.
func (c *pendingCursor) Filter(int, string, []vtab.Value) error {
	*c = pendingCursor{table: c.table}
	return nil
}

func (c *pendingCursor) Next() error {
	b := c.table.batches[c.batch]
	c.start = b.rows[c.row].details
	if c.row++; c.row == len(b.rows) {
		c.batch, c.row, c.start = c.batch+1, 0, 0
	}
	return nil
}

// Eof relies on no batch being empty.
func (c *pendingCursor) Eof() bool { return c.batch == len(c.table.batches) }

// Column returns the text of a column, or nil for details that are missing.
func (c *pendingCursor) Column(col int) (vtab.Value, error) {
	b := c.table.batches[c.batch]
	return b.value(c.start, &b.rows[c.row], col), nil
}

func (c *pendingCursor) Rowid() (int64, error) { return 0, nil }
func (c *pendingCursor) Close() error          { return nil }
