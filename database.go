package main

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"log-ingester/internal/dbfile"
)

// schema is the table of the Rust service that this service replaces, so that
// existing files keep working.
const schema = `CREATE TABLE IF NOT EXISTS logs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL, message TEXT NOT NULL,
  timestamp TEXT NOT NULL, details TEXT)`

// pageSize is the page size of a new database, in bytes. Such a page holds about
// forty entries, so a transaction writes a third fewer pages than with 4 KiB.
const pageSize = 8192

// A database is the writer's connection to the database file. Only the writer
// uses it.
type database struct {
	path        string
	synchronous string // the value of PRAGMA synchronous
	log         *slog.Logger
	onReopen    func() // called when the open file or its table was replaced; may be nil

	conn                            *conn // nil while the file cannot be opened
	begin, insert, commit, rollback statement
	insertKey                       statement
	pending                         pendingTable // the rows that insert copies

	checkpointer *checkpointer // nil while conn is

	keys      *claimTable
	files     openFiles
	wal       walShrinker
	summaries summaryTables

	stale    bool           // the connection failed or its files were moved: reopen before the next use
	replaced bool           // the file or table was replaced, so ids restart
	inDoubt  *inDoubtCommit // must be resolved before the next transaction; nil if there is none
}

// An inDoubtCommit is a commit that failed but may have been applied.
type inDoubtCommit struct {
	lastID int64 // of the transaction's rows
	err    error // how it failed
}

// openDatabase opens or creates the database at path. If the file is not a SQLite
// database, or if its table logs has other columns, openDatabase returns an error
// and does not change the file.
func openDatabase(path, synchronous string, log *slog.Logger) (*database, error) {
	d := &database{
		path:        path,
		synchronous: synchronous,
		log:         log,
		keys:        newClaimTable(maxKeys),
		files:       openFiles{log: log},
		wal:         walShrinker{log: log},
	}
	if err := d.open(); err != nil {
		return nil, err
	}
	d.replaced = false // there are no readers to inform
	return d, nil
}

// ensureOpen makes sure that the file that is now at the path is open.
func (d *database) ensureOpen() error {
	if d.conn != nil {
		if _, err := d.files.database.Check(); err == nil && !d.stale {
			return nil
		}
		if err := d.checkFiles(); err != nil {
			d.replaced = true
			d.log.Warn("reopening the database", "err", err)
			// Committed rows that are only in the WAL belong in the database
			// file, wherever it is now. SQLite does not move them there when it
			// closes a moved file. If this fails, open preserves the WAL.
			d.checkpoint()
		}
		d.disconnect() // the log or the caller already has the cause
	}
	if err := d.open(); err != nil {
		return err
	}
	if d.replaced && d.onReopen != nil {
		d.onReopen()
	}
	d.replaced = false
	return nil
}

// checkFiles returns an error if one of the open files was deleted, renamed or
// replaced. It then marks the connection as stale.
func (d *database) checkFiles() error {
	err := d.files.check()
	if err != nil {
		d.stale = true
	}
	return err
}

// markStale marks the connection as stale if it may have caused err, for example
// because a network file system dropped its files.
func (d *database) markStale(err error) {
	if isBroken(err) {
		d.stale = true
	}
}

// isBroken reports whether err is an error of SQLite other than a lock or a full
// disk. The connection may then not work any more.
func isBroken(err error) bool {
	code := resultCode(err)
	return code != 0 && code != sqliteBusy && code != sqliteFull
}

// open opens or creates the file that is now at the path.
func (d *database) open() error {
	file, err := d.files.prepare(d.path)
	if err != nil {
		return err
	}
	if err := d.connect(file); err != nil {
		if d.conn != nil {
			d.disconnect() // err is the cause
		}
		return openError(d.path, err)
	}
	return nil
}

// connect opens a connection and prepares it for writing. file is the state of
// the file at the path; a new file is empty.
func (d *database) connect(file os.FileInfo) error {
	c, err := openConn(dbfile.URI(d.path), &d.pending)
	if err != nil {
		return err
	}
	d.conn = c
	if err := d.conn.setBusyTimeout(busyTimeout); err != nil {
		return err
	}
	if err := d.checkTable(); err != nil {
		return err
	}
	if err := d.configure(file.Size() == 0); err != nil {
		return err
	}
	if err := d.prepareStatements(); err != nil {
		return err
	}
	if err := d.keys.load(d.conn); err != nil {
		return err
	}
	if err := d.checkWritable(); err != nil {
		return err
	}
	d.updateSummaryTables()
	if d.checkpointer, err = startCheckpointer(d.path, d.synchronous); err != nil {
		return err
	}
	return d.files.record(d.conn, d.path, file)
}

// openError adds the path and a hint to an error of opening the file.
func openError(path string, err error) error {
	switch resultCode(err) {
	case sqliteNotADB:
		err = errors.New("not a SQLite database; choose another file with -db")
	case sqliteReadOnly, sqliteCantOpen:
		err = fmt.Errorf("%w; the file and its directory must be writable", err)
	case sqliteIOErr:
		err = fmt.Errorf("%w; the disk may be full", err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}

// checkTable returns an error unless the table logs is missing or has the
// columns of schema. If it is missing, ids restart, so replaced is set.
func (d *database) checkTable() error {
	rows, err := d.conn.query("SELECT type FROM sqlite_schema WHERE name = 'logs' AND type <> 'table'")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fmt.Errorf("logs is a %s, not a table; choose another file with -db", rows[0][0])
	}
	rows, err = d.conn.query(`SELECT name, type, pk, "notnull" FROM pragma_table_info('logs')`)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		d.replaced = true
		return nil
	}
	var columns []string
	for _, row := range rows {
		name, declaredType := fmt.Sprint(row[0]), fmt.Sprint(row[1])
		columns = append(columns, describeColumn(name, declaredType, row[2] != int64(0), row[3] != int64(0)))
	}
	want := []string{"id INTEGER PRIMARY KEY", "level", "message", "timestamp", "details"}
	if !slices.Equal(columns, want) {
		return fmt.Errorf("table logs has the columns %s, not %s; choose another file with -db",
			strings.Join(columns, ", "), strings.Join(want, ", "))
	}
	return nil
}

// describeColumn returns the name of a column and the properties that matter:
// SQLite must assign the id, and the details may be missing.
func describeColumn(name, declaredType string, primaryKey, notNull bool) string {
	switch {
	case primaryKey && strings.EqualFold(declaredType, "INTEGER"):
		return name + " INTEGER PRIMARY KEY"
	case primaryKey:
		return name + " " + declaredType + " PRIMARY KEY"
	case name == "details" && notNull:
		return name + " NOT NULL"
	}
	return name
}

// configure sets up the connection and creates the table if it is missing.
func (d *database) configure(isNew bool) error {
	if isNew {
		// Both must be set before the first page is written.
		if err := d.conn.exec(fmt.Sprintf("PRAGMA page_size=%d", pageSize), "PRAGMA auto_vacuum=INCREMENTAL"); err != nil {
			return err
		}
	}
	rows, err := d.conn.query("PRAGMA page_size")
	if err != nil {
		return err
	}
	return d.conn.exec(
		"PRAGMA journal_mode=WAL",
		"PRAGMA synchronous="+d.synchronous,
		"PRAGMA temp_store=MEMORY",
		"PRAGMA cache_size=-256", // small, because rows are only appended
		fmt.Sprintf("PRAGMA journal_size_limit=%d", walLimit),
		fmt.Sprintf("PRAGMA wal_autocheckpoint=%d", walCheckpoint/rows[0][0].(int64)),
		schema,
		keySchema,
		"CREATE VIRTUAL TABLE temp.pending USING pending",
	)
}

// A preparedStatement is the SQL text of a statement, and the field of database
// that stores the statement.
type preparedStatement struct {
	stmt *statement
	text string
}

func (d *database) statements() []preparedStatement {
	return []preparedStatement{
		{&d.begin, "BEGIN IMMEDIATE"},
		{&d.insert, "INSERT INTO logs(level, message, timestamp, details)" +
			" SELECT level, message, timestamp, details FROM temp.pending"},
		{&d.insertKey, insertKey},
		{&d.commit, "COMMIT"},
		{&d.rollback, "ROLLBACK"},
	}
}

func (d *database) prepareStatements() error {
	for _, p := range d.statements() {
		stmt, err := d.conn.prepare(p.text)
		if err != nil {
			return err
		}
		*p.stmt = stmt
	}
	return nil
}

// checkWritable returns an error if the file is read-only. SQLite opens such a
// file without an error, and fails when it has to write. A lock does not mean
// that the file is read-only, so checkWritable does not wait for it.
func (d *database) checkWritable() error {
	if err := d.conn.setBusyTimeout(0); err != nil {
		return err
	}
	if err := d.conn.exec("DELETE FROM logs WHERE false"); err != nil && !isBusy(err) {
		return err
	}
	return d.conn.setBusyTimeout(busyTimeout)
}

// disconnect closes the prepared statements and the connection.
func (d *database) disconnect() error {
	var err error
	for _, p := range d.statements() {
		if *p.stmt != nil {
			err = errors.Join(err, (*p.stmt).Close())
			*p.stmt = nil
		}
	}
	err = errors.Join(err, d.checkpointer.close(), d.conn.close())
	d.conn, d.checkpointer, d.stale = nil, nil, false
	d.summaries = summaryTables{}
	return err
}

// write stores the rows of all batches, in order, in one transaction, and
// returns the last row's id. After an error no row is stored, unless the commit
// is in doubt: then the rows may be stored, and the next call must pass the same
// batches.
func (d *database) write(batches []*batch) (int64, error) {
	for {
		if err := d.ensureOpen(); err != nil {
			return 0, err
		}
		if commit := d.inDoubt; commit != nil {
			applied, lookupErr := d.resolveInDoubt(batches)
			switch {
			case lookupErr != nil:
				d.markStale(lookupErr)
				return 0, errors.Join(commit.err, lookupErr)
			case applied:
				return commit.lastID, nil
			case !errors.Is(commit.err, dbfile.ErrReplaced):
				return 0, commit.err
			}
			// If the commit was applied, then only to the file that was moved.
			// Store the rows in the file that is now open.
		}
		lastID, err := d.transact(batches)
		if err == nil {
			err = d.checkFiles()
		}
		if err == nil {
			return lastID, nil
		}
		d.markStale(err)
		if lastID == 0 {
			return 0, err
		}
		// A failed commit may still be in the WAL, where the next open recovers
		// it. A stale connection is therefore reopened before the lookup.
		d.inDoubt = &inDoubtCommit{lastID, err}
		if d.stale {
			// If the sync of the WAL failed, overwrite the commit, so that the
			// next open does not recover rows that are not on disk. If this fails
			// too, resolveInDoubt deals with the commit.
			d.rewriteVersion()
		}
	}
}

// transact executes the transaction of write. If only the commit fails, it
// returns the last row's id with the error; after any other error the id is 0.
func (d *database) transact(batches []*batch) (lastID int64, err error) {
	_, err = execute(d.begin)
	if err != nil {
		d.rollBack()
		return 0, fmt.Errorf("begin transaction: %w", err)
	}
	d.pending.batches = batches
	result, err := execute(d.insert)
	d.pending.batches = nil
	if err == nil {
		lastID, err = result.LastInsertId()
	}
	if err == nil {
		var n int64
		n, err = result.RowsAffected()
		err = errors.Join(err, d.summaries.inserting(d.conn, lastID-n+1))
	}
	if err != nil {
		d.rollBack()
		return 0, fmt.Errorf("insert entries: %w", err)
	}
	if err := d.keys.insert(d.conn, d.insertKey, batches); err != nil {
		d.rollBack()
		return 0, fmt.Errorf("insert idempotency keys: %w", err)
	}
	_, err = execute(d.commit)
	if err != nil {
		d.rollBack()
		return lastID, fmt.Errorf("commit: %w", err)
	}
	d.checkpointer.committed(batchesSize(batches))
	return lastID, nil
}

// rollBack ignores errors: SQLite may have rolled back already. If a transaction
// is still open, the next BEGIN fails.
func (d *database) rollBack() { execute(d.rollback) }

// resolveInDoubt reports whether the commit in doubt was applied to the open
// file. Unless it returns an error, the commit is no longer in doubt. SQLite never
// reuses the id of a committed row, so it is sufficient to compare the row that
// has the transaction's last id.
func (d *database) resolveInDoubt(batches []*batch) (applied bool, err error) {
	rows, err := d.conn.query("SELECT level, message, timestamp, details FROM logs WHERE id = ?", d.inDoubt.lastID)
	if err != nil {
		return false, err
	}
	last := batches[len(batches)-1]
	applied = len(rows) == 1 && slices.Equal(rows[0], last.values(len(last.rows)-1))
	if isBroken(d.inDoubt.err) {
		err = d.settleOnDisk(applied)
	}
	if err != nil {
		return false, err
	}
	d.inDoubt = nil
	return applied, nil
}

// settleOnDisk makes the outcome of a commit in doubt survive a crash. If the
// sync of the WAL failed, the WAL can have content that a later sync does not
// write to the disk.
func (d *database) settleOnDisk(applied bool) error {
	// Copy the content of the WAL into the database, and sync that. If a reader
	// prevents it, only an applied commit is not yet safe.
	if err := d.checkpoint(); err != nil && applied {
		return err
	}
	// A crash could restore the old WAL, even if SQLite has deleted or truncated
	// it. The next transaction overwrites it and syncs it, and the directory if
	// the WAL is new.
	return d.rewriteVersion()
}

// probe checks whether the database accepts writes.
func (d *database) probe() error {
	if err := d.ensureOpen(); err != nil {
		return err
	}
	err := d.rewriteVersion()
	d.markStale(err)
	return err
}

// expireKeys deletes some expired idempotency keys, and reports whether there may
// be more.
func (d *database) expireKeys() (more bool) {
	if d.keys.index.len() == 0 {
		return false
	}
	err := d.ensureOpen()
	if err == nil {
		more, err = d.keys.deleteExpired(d.conn, 0)
	}
	if err != nil {
		d.log.Warn("cannot delete expired idempotency keys, retrying", "err", err)
		d.keys.nextExpiry = time.Now().Add(expireEvery)
	}
	return more
}

// rewriteVersion executes a transaction that changes nothing: it sets
// user_version to its current value.
func (d *database) rewriteVersion() error {
	rows, err := d.conn.query("PRAGMA user_version")
	if err != nil {
		return err
	}
	return d.conn.exec(fmt.Sprintf("PRAGMA user_version=%d", rows[0][0]))
}

// shrinkWAL truncates the WAL if it is too large and no other transaction
// prevents that.
func (d *database) shrinkWAL() {
	if d.conn != nil {
		d.markStale(d.wal.shrink(d.truncateWAL, d.files.wal.Info.Size()))
	}
}

// truncateWAL runs a checkpoint that waits only shrinkTimeout for readers. It
// ignores errors of setBusyTimeout, because they are harmless: the checkpoint
// waits longer, or the next transaction fails sooner and is retried.
func (d *database) truncateWAL() error {
	d.conn.setBusyTimeout(shrinkTimeout)
	defer d.conn.setBusyTimeout(busyTimeout)
	return d.checkpoint()
}

// checkpoint is conn.checkpoint, after the one that may be running in d.checkpointer.
func (d *database) checkpoint() error {
	if d.checkpointer != nil {
		d.checkpointer.running.Lock()
		defer d.checkpointer.running.Unlock()
	}
	return d.conn.checkpoint()
}

// updateSummaryTables is summaries.ensure, but only logs an error: without summaries,
// searches are slow.
func (d *database) updateSummaryTables() {
	if err := d.summaries.ensure(d.conn); err != nil && !isBusy(err) && !d.summaries.failing {
		d.log.Warn("cannot prepare the tables of summaries, retrying; searches are slow", "err", err)
		d.summaries.failing = true
	}
}

// deleteRows deletes the rows of logs that match condition, all of which have ids from
// first to last.
func (d *database) deleteRows(first, last int64, condition string, args ...driver.Value) (n int64, err error) {
	if err := d.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return 0, err
	}
	n, err = d.conn.change("DELETE FROM logs WHERE "+condition, args...)
	if err == nil && n > 0 {
		err = d.summaries.deleted(d.conn, first, last)
	}
	if err == nil {
		err = d.conn.exec("COMMIT")
	}
	if err != nil {
		d.rollBack()
		return 0, err
	}
	return n, nil
}

// close moves the content of the WAL into the database, if possible, and closes
// the connection.
func (d *database) close() error {
	if d.conn == nil {
		return nil
	}
	if err := d.checkpoint(); err != nil {
		d.log.Warn("entries remain in the WAL; keep it next to the database", "wal", d.files.wal.Name, "err", err)
	}
	return d.disconnect()
}
