package main

import (
	"errors"
	"fmt"
	"log-ingester/internal/dbfile"
	"log/slog"
	"slices"
	"strings"
)

// schema is the Rust service's table, so that its files go on being used.
const schema = `CREATE TABLE IF NOT EXISTS logs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL, message TEXT NOT NULL,
  timestamp TEXT NOT NULL, details TEXT)`

// pageSize is that of a new database, in bytes.
const pageSize = 8192

// A database is the writer's connection to logs.db. Only the writer uses it.
type database struct {
	path        string
	synchronous string
	log         *slog.Logger
	pending     *pendingTable

	conn                            *conn // nil while the file cannot be opened
	begin, insert, commit, rollback statement

	files    openFiles
	wal      walShrinker
	doubtful bool // the connection failed or its files were moved: it is opened anew before it is used

	renewed  bool   // the file or its table is another one than before, so that ids begin anew
	onReopen func() // is told of that once it is open; or nil

	// The last id of a commit that failed but may have been applied, or 0, and
	// how it failed.
	unsureOf  int64
	unsureWhy error
}

// openDatabase opens path, or makes it, for one writer. synchronous is a value
// of SQLite's pragma of that name. A file that is not a database, or whose
// table logs has other columns, is left as it is and is an error.
func openDatabase(path, synchronous string, log *slog.Logger) (*database, error) {
	d := &database{path: path, synchronous: synchronous, log: log, pending: new(pendingTable),
		files: openFiles{log: log}, wal: walShrinker{log: log}}
	if err := d.open(); err != nil {
		return nil, err
	}
	d.renewed = false
	return d, nil
}

// open opens the file that is at the path now, or makes it.
func (d *database) open() (err error) {
	file, err := d.files.prepare(d.path)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if d.conn != nil {
			d.disconnect() // what went wrong is known already
		}
		switch resultCode(err) {
		case sqliteReadOnly, sqliteCantOpen:
			err = fmt.Errorf("%w; the file and its directory must be writable", err)
		case sqliteIOErr:
			err = fmt.Errorf("%w; the disk may be full", err)
		}
		err = fmt.Errorf("opening %s: %w", d.path, err)
	}()

	if d.conn, err = openConn(dbfile.URI(d.path), d.pending); err != nil {
		return err
	}
	if err := d.conn.setBusyTimeout(busyTimeout); err != nil {
		return err
	}
	if err := d.checkColumns(); resultCode(err) == sqliteNotADB {
		return errors.New("it is not a SQLite database; name another file with -db")
	} else if err != nil {
		return err
	}
	if file.Size() == 0 {
		// Both have to be set before the first page is written. 8 KiB pages
		// hold some forty entries and take a third fewer page writes than 4 KiB.
		if err := d.conn.exec(fmt.Sprintf("PRAGMA page_size=%d", pageSize), "PRAGMA auto_vacuum=INCREMENTAL"); err != nil {
			return err
		}
	}
	rows, err := d.conn.query("PRAGMA page_size")
	if err != nil {
		return err
	}
	if err := d.conn.exec(
		"PRAGMA journal_mode=WAL",
		"PRAGMA synchronous="+d.synchronous,
		"PRAGMA temp_store=MEMORY",
		"PRAGMA cache_size=-256", // rows are only added at the end
		fmt.Sprintf("PRAGMA journal_size_limit=%d", walLimit),
		fmt.Sprintf("PRAGMA wal_autocheckpoint=%d", walCheckpoint/rows[0][0].(int64)),
		schema,
		"CREATE VIRTUAL TABLE temp.pending USING pending",
	); err != nil {
		return err
	}
	for stmt, text := range map[*statement]string{
		&d.begin:    "BEGIN IMMEDIATE",
		&d.insert:   "INSERT INTO logs(level, message, timestamp, details) SELECT level, message, timestamp, details FROM temp.pending",
		&d.commit:   "COMMIT",
		&d.rollback: "ROLLBACK",
	} {
		if *stmt, err = d.conn.prepare(text); err != nil {
			return err
		}
	}
	// SQLite opens a file that it may not write to, and tells when it should. A
	// lock tells nothing, so that it is not waited for.
	if err := d.conn.setBusyTimeout(0); err != nil {
		return err
	}
	if err := d.conn.exec("DELETE FROM logs WHERE false"); err != nil && !isBusy(err) {
		return err
	}
	if err := d.conn.setBusyTimeout(busyTimeout); err != nil {
		return err
	}
	return d.files.record(d.conn, d.path, file)
}

// moved returns an error unless others find the files that are open: what is
// written to files that were deleted, renamed or replaced is lost to them.
func (d *database) moved() error {
	err := d.files.check()
	if err != nil {
		d.doubtful = true
	}
	return err
}

// ready sees to it that the file at the path is open.
func (d *database) ready() error {
	if d.conn != nil {
		if _, err := d.files.database.Check(); err == nil && !d.doubtful {
			return nil
		}
		if moved := d.moved(); moved != nil {
			d.renewed = true
			d.log.Warn("opening the database anew", "why", moved)
			// Committed rows that are only in the WAL belong into the database,
			// wherever it is now; SQLite would not put them there.
			d.conn.checkpoint() // the WAL is kept if it failed
		}
		d.disconnect() // what it is closed for is known
	}
	if err := d.open(); err != nil {
		return err
	}
	if d.renewed && d.onReopen != nil {
		d.onReopen()
	}
	d.renewed = false
	return nil
}

// disconnect closes the connection.
func (d *database) disconnect() error {
	var err error
	for _, stmt := range []*statement{&d.begin, &d.insert, &d.commit, &d.rollback} {
		if *stmt != nil {
			err = errors.Join(err, (*stmt).Close())
			*stmt = nil
		}
	}
	err = errors.Join(err, d.conn.close())
	d.conn, d.doubtful = nil, false
	return err
}

// checkColumns makes sure that the table logs, where there is one, is ours, and
// notes where there is none.
func (d *database) checkColumns() error {
	rows, err := d.conn.query("SELECT type FROM sqlite_schema WHERE name = 'logs' AND type <> 'table'")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fmt.Errorf("its logs is a %s; name another file with -db", rows[0][0])
	}
	// A row has to get an id by itself, and need not have details.
	rows, err = d.conn.query(`SELECT name || iif(pk, ' ' || upper(type) || ' PRIMARY KEY', '') || iif(name = 'details' AND "notnull", ' NOT NULL', '')
		FROM pragma_table_info('logs')`)
	if err != nil {
		return err
	}
	var columns []string
	for _, row := range rows {
		columns = append(columns, fmt.Sprint(row[0]))
	}
	if len(columns) == 0 {
		d.renewed = true
	}
	want := []string{"id INTEGER PRIMARY KEY", "level", "message", "timestamp", "details"}
	if len(columns) > 0 && !slices.Equal(columns, want) {
		return fmt.Errorf("its table logs has the columns %s, not %s; name another file with -db",
			strings.Join(columns, ", "), strings.Join(want, ", "))
	}
	return nil
}

// write stores the rows of all batches, in their order, in one transaction, and
// returns the last row's id. After an error none of them is stored, unless
// d.unsure: then they may be, and the next call must bring the same batches.
func (d *database) write(batches []*batch) (last int64, err error) {
	for {
		if err := d.ready(); err != nil {
			return 0, err
		}
		if d.unsure() {
			last, why := d.unsureOf, d.unsureWhy
			applied, err := d.resolve(batches)
			if err != nil {
				d.doubt(err)
				return 0, errors.Join(why, err)
			}
			if applied {
				return last, nil
			}
			if !errors.Is(why, dbfile.ErrReplaced) {
				return 0, why
			}
		}
		last, err := d.transact(batches)
		switch {
		case err == nil:
			if err = d.moved(); err == nil {
				return last, nil
			}
		case last == 0:
			d.doubt(err)
			return 0, err
		default:
			// A commit that failed may yet be found in the WAL by the next who
			// opens it, so that is done before asking.
			d.doubt(err)
		}
		d.unsureOf, d.unsureWhy = last, err
	}
}

// transact is write's transaction. With an error, last is the last id of a
// commit that failed, or 0.
func (d *database) transact(batches []*batch) (last int64, err error) {
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
		return last, fmt.Errorf("committing: %w", err)
	}
	return last, nil
}

// undo rolls back. It discards the error, since SQLite may have rolled back by
// itself and then says that no transaction is active; where one is after all,
// the next BEGIN fails.
func (d *database) undo() { execute(d.rollback) }

// unsure reports whether a commit failed that may still have been applied.
func (d *database) unsure() bool { return d.unsureOf != 0 }

// resolve finds out whether the commit that the database is unsure of was
// applied to the file that is open: ids are never used twice, so the row of the
// last id tells.
func (d *database) resolve(batches []*batch) (applied bool, err error) {
	rows, err := d.conn.query("SELECT level, message, timestamp, details FROM logs WHERE id = ?", d.unsureOf)
	if err != nil {
		return false, err
	}
	d.unsureOf, d.unsureWhy = 0, nil
	b := batches[len(batches)-1]
	return len(rows) == 1 && slices.Equal(rows[0], b.values(len(b.rows)-1)), nil
}

// probe finds out whether the database takes writes, by writing what it
// holds already.
func (d *database) probe() error {
	if err := d.ready(); err != nil {
		return err
	}
	rows, err := d.conn.query("PRAGMA user_version")
	if err == nil {
		err = d.conn.exec(fmt.Sprintf("PRAGMA user_version=%d", rows[0][0]))
	}
	d.doubt(err)
	return err
}

// shrinkWAL truncates the WAL if it is too large and no other transaction
// prevents that.
func (d *database) shrinkWAL() {
	if d.conn != nil {
		d.doubt(d.wal.shrink(d.conn, d.files.wal.Info.Size()))
	}
}

// doubt makes the connection be opened anew where err may be its fault: a
// network file system gave its files up, say, or they were read-only.
func (d *database) doubt(err error) {
	switch resultCode(err) {
	case 0, sqliteBusy, sqliteFull:
	default:
		d.doubtful = true
	}
}

// close empties the WAL into the database, if it can, and closes it.
func (d *database) close() error {
	if d.conn == nil {
		return nil
	}
	if err := d.conn.checkpoint(); err != nil {
		d.log.Warn("entries remain in the WAL; keep it next to the database", "wal", d.files.wal.Name, "why", err)
	}
	return d.disconnect()
}
