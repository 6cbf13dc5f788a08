package logpages

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

const createTable = `CREATE TABLE logs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, level TEXT NOT NULL, message TEXT NOT NULL,
  timestamp TEXT NOT NULL, details TEXT)`

// newDB returns an empty database with the table logs.
func newDB(t testing.TB, pragmas string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "logs.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	exec(t, db, pragmas+";"+createTable)
	return db
}

func exec(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// walk walks through pages that readPage returns, and resumes after each stop.
func walk(w *Walk, root int64, definition string, readPage func(uint32) []byte) error {
	page, err := w.Table(root, definition)
	for err == nil && page != 0 {
		data := readPage(page)
		if data == nil {
			return ErrFormat
		}
		page, err = w.Page(data)
	}
	return err
}

// walkDB walks through the table of a database.
func walkDB(t testing.TB, w *Walk, db *sql.DB) error {
	t.Helper()
	var root int64
	var definition string
	must(t, db.QueryRow("SELECT rootpage, sql FROM sqlite_schema WHERE name = 'logs'").Scan(&root, &definition))
	return walk(w, root, definition, func(page uint32) (data []byte) {
		must(t, db.QueryRow("SELECT data FROM sqlite_dbpage WHERE pgno = ?", page).Scan(&data))
		return data
	})
}

// A row is a copy of a Row.
type row struct {
	id                                 int64
	level, message, timestamp, details string
}

// visitAll returns the rows with first <= id <= last that a walk visits, which is resumed
// after each every rows.
func visitAll(t testing.TB, db *sql.DB, first, last int64, columns, every int) (rows []row, err error) {
	t.Helper()
	var w Walk
	var current string
	for first <= last {
		visited := 0
		w.Start(first, last, columns, func(r *Row) bool {
			if r.Page != nil {
				current = string(r.Page)
			}
			row := row{r.ID, strings.Clone(r.Level), strings.Clone(r.Message),
				strings.Clone(r.Timestamp), strings.Clone(r.Details)}
			rows = append(rows, row)
			for _, text := range []string{row.level, row.message, row.timestamp, row.details} {
				if !strings.Contains(current, text) {
					t.Fatalf("row %d: a text is not in its page", r.ID)
				}
			}
			visited++
			return visited == every
		})
		if err = walkDB(t, &w, db); err != nil {
			return rows, err
		}
		switch {
		case !w.Ended():
			t.Fatal("Ended() = false, want true")
		case visited == every:
			first = rows[len(rows)-1].id + 1
		default:
			first = w.Last() + 1
		}
	}
	return rows, nil
}

// selectAll is visitAll, but reads the rows with SQL.
func selectAll(t testing.TB, db *sql.DB, first, last int64) (rows []row) {
	t.Helper()
	result, err := db.Query("SELECT id, level, message, timestamp, ifnull(details, '') FROM logs"+
		" WHERE id BETWEEN ? AND ? ORDER BY id", first, last)
	must(t, err)
	defer result.Close()
	for result.Next() {
		var r row
		must(t, result.Scan(&r.id, &r.level, &r.message, &r.timestamp, &r.details))
		rows = append(rows, r)
	}
	must(t, result.Err())
	return rows
}

// compareRanges compares the rows of random ranges of ids with those of SQL.
func compareRanges(t *testing.T, r *rand.Rand, db *sql.DB) {
	t.Helper()
	var highest int64
	must(t, db.QueryRow("SELECT ifnull(max(id), 0) FROM logs").Scan(&highest))
	for i := range 4 {
		first, last := r.Int64N(highest+2)-1, r.Int64N(highest+2)
		if i == 0 {
			first, last = -1<<62, 1<<62
		}
		columns := 1 + r.IntN(Details)
		got, err := visitAll(t, db, first, last, columns, 1+r.IntN(200))
		if err != nil {
			t.Fatalf("ids %d to %d: %v", first, last, err)
		}
		want := selectAll(t, db, first, last)
		for _, rows := range [][]row{got, want} {
			for i := range rows {
				texts := []*string{&rows[i].level, &rows[i].message, &rows[i].timestamp, &rows[i].details}
				for _, text := range texts[columns:] {
					*text = ""
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("ids %d to %d: got %d rows, want %d equal ones", first, last, len(got), len(want))
		}
	}
}

// A walk visits the rows that SQL returns, in any file, after any change.
func TestWalkReadsAllRows(t *testing.T) {
	for _, pragmas := range []string{
		"PRAGMA page_size = 512", "PRAGMA page_size = 4096; PRAGMA auto_vacuum = FULL",
		"PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL", "PRAGMA page_size = 65536",
	} {
		t.Run(pragmas, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			db := newDB(t, pragmas)
			compareRanges(t, r, db)
			insertRandom(t, r, db, 1000)
			compareRanges(t, r, db)
			for range 6 {
				changeRandom(t, r, db)
				compareRanges(t, r, db)
			}
		})
	}
}

// randomText returns a text, which is sometimes larger than a page.
func randomText(r *rand.Rand) string {
	n := r.IntN(40)
	if r.IntN(8) == 0 {
		n = r.IntN(600)
	}
	if r.IntN(100) == 0 {
		n = r.IntN(3000)
	}
	return strings.Repeat(string(rune('a'+r.IntN(26)))+"\x00ü\xff", n)[:n]
}

func insertRandom(t *testing.T, r *rand.Rand, db *sql.DB, n int) {
	t.Helper()
	tx, err := db.Begin()
	must(t, err)
	defer tx.Rollback() // has no effect after Commit
	for range n {
		id := r.Int64N(1 << (1 + r.IntN(20)))
		details := any(randomText(r))
		if r.IntN(4) == 0 {
			details = nil
		}
		_, err := tx.Exec("INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?)",
			id, randomText(r), []byte(randomText(r)), randomText(r), details)
		must(t, err)
	}
	must(t, tx.Commit())
}

func changeRandom(t *testing.T, r *rand.Rand, db *sql.DB) {
	t.Helper()
	id := r.IntN(1 << 20)
	switch r.IntN(5) {
	case 0:
		exec(t, db, "DELETE FROM logs WHERE id BETWEEN ? AND ? OR id % 3 = 0", id, id+100_000)
	case 1:
		exec(t, db, "UPDATE logs SET message = ? WHERE id % 5 = 0", randomText(r))
	case 2:
		exec(t, db, "VACUUM")
	case 3:
		exec(t, db, "PRAGMA incremental_vacuum")
	}
	insertRandom(t, r, db, 100)
}

// A row that is not in the format of the service, or that is too large, is an error
// after the rows before it.
func TestWalkUnusualRow(t *testing.T) {
	for _, statement := range []string{
		"INSERT INTO logs VALUES (3, 'error', zeroblob(70000), '', NULL)",
		"PRAGMA ignore_check_constraints = 1; PRAGMA writable_schema = 1;" +
			"UPDATE sqlite_schema SET sql = replace(sql, 'message TEXT', 'message INTEGER') WHERE name = 'logs';" +
			"PRAGMA writable_schema = RESET; INSERT INTO logs VALUES (3, 'error', 7, '', NULL);" +
			"PRAGMA writable_schema = 1;" +
			"UPDATE sqlite_schema SET sql = replace(sql, 'message INTEGER', 'message TEXT') WHERE name = 'logs'",
	} {
		db := newDB(t, "PRAGMA page_size = 4096")
		exec(t, db, "INSERT INTO logs VALUES (1, 'error', 'a', '', NULL), (2, 'error', 'b', '', NULL)")
		exec(t, db, statement)
		rows, err := visitAll(t, db, 1, 10, Details, 100)
		if len(rows) != 2 || !errors.Is(err, ErrRow) {
			t.Errorf("after %s: got %d rows, %v, want 2 and %v", statement, len(rows), err, ErrRow)
		}
		rows, err = visitAll(t, db, 1, 10, Level, 100)
		if strings.Contains(statement, "zeroblob") && (err != nil || len(rows) != 3) {
			t.Errorf("levels after %s: got %d rows, %v, want 3", statement, len(rows), err)
		}
	}
}

func TestTableDefinitions(t *testing.T) {
	for sql, want := range map[string]bool{
		createTable: true,
		strings.ReplaceAll(strings.ToLower(createTable), " (", "("):                true,
		strings.ReplaceAll(createTable, ", ", "\t,\n"):                             true,
		createTable + " STRICT":                                                    false,
		strings.Replace(createTable, "level", "other", 1):                          false,
		strings.Replace(createTable, "details TEXT", "details TEXT, more TEXT", 1): false,
		strings.Replace(createTable, "details TEXT", "details", 1):                 false,
		"": false,
	} {
		var w Walk
		w.Start(1, 2, Level, nil)
		if page, err := w.Table(2, sql); (err == nil) != want || want && page != 1 {
			t.Errorf("Table(2, %q) = %d, %v, want success: %v", sql, page, err, want)
		}
	}
	for _, root := range []int64{-1, 0, 1, 1 << 32} {
		var w Walk
		w.Start(1, 2, Level, nil)
		if _, err := w.Table(root, createTable); err == nil {
			t.Errorf("Table(%d) succeeds, want an error", root)
		}
	}
}

func TestWalkUTF16(t *testing.T) {
	db := newDB(t, "PRAGMA encoding = 'UTF-16le'")
	if _, err := visitAll(t, db, 1, 10, Level, 1); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want %v", err, ErrFormat)
	}
}

// Rows of each size are read, whether or not they fit into a page.
func TestWalkRowSizes(t *testing.T) {
	db := newDB(t, "PRAGMA page_size = 512")
	exec(t, db, "WITH RECURSIVE n(n) AS (VALUES (0) UNION ALL SELECT n+1 FROM n WHERE n < 2000)"+
		" INSERT INTO logs SELECT n, 'error', substr(printf('%.*c', n, 'x') || n, -n), '', 'details' FROM n")
	compareRanges(t, rand.New(rand.NewPCG(3, 4)), db)
}

// A walk includes fewer ids than requested if a page has many children.
func TestWalkLimitsQueue(t *testing.T) {
	db := newDB(t, "PRAGMA page_size = 65536")
	const rows = 3000 // each fills a page
	exec(t, db, "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM n WHERE n < ?)"+
		" INSERT INTO logs SELECT n, 'error', printf('%.*c', 40000, 'x'), '', NULL FROM n", rows)
	var w Walk
	visited := 0
	w.Start(1, 1<<40, Level, func(*Row) bool { visited++; return false })
	must(t, walkDB(t, &w, db))
	if visited != maxQueued || w.Last() != maxQueued {
		t.Errorf("the walk has visited %d rows up to %d, want %d", visited, w.Last(), maxQueued)
	}
	if got, err := visitAll(t, db, 1, 1<<40, Level, rows); err != nil || len(got) != rows {
		t.Errorf("got %d rows, %v, want all %d in several walks", len(got), err, rows)
	}
}

// FuzzWalk checks that no file makes a walk fail with a panic, or last forever. The
// rows that it visits have increasing ids.
func FuzzWalk(f *testing.F) {
	for _, pragmas := range []string{"PRAGMA page_size = 512", "PRAGMA page_size = 512; PRAGMA auto_vacuum = FULL"} {
		path := filepath.Join(f.TempDir(), "seed.db")
		db, err := sql.Open("sqlite", path)
		must(f, err)
		exec(f, db, pragmas+";"+createTable)
		for i := range 60 {
			exec(f, db, "INSERT INTO logs(level, message, timestamp, details) VALUES ('error', ?, '2026-11-01', '{}')",
				strings.Repeat("text ", i*i%250))
		}
		var root int64
		must(f, db.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'logs'").Scan(&root))
		must(f, db.Close())
		file, err := os.ReadFile(path)
		must(f, err)
		f.Add(file, root, uint16(512), int64(1), int64(100), uint8(Details))
		f.Add(file, root, uint16(512), int64(30), int64(40), uint8(Level))
	}
	f.Fuzz(func(t *testing.T, file []byte, root int64, pageSize uint16, first, last int64, columns uint8) {
		if pageSize == 0 {
			return
		}
		previous, rows := int64(0), 0
		var w Walk
		w.Start(first, last, int(columns), func(r *Row) bool {
			if rows > 0 && r.ID <= previous || r.ID < first || r.ID > last {
				t.Fatalf("got row %d after %d, want ids from %d to %d in order", r.ID, previous, first, last)
			}
			_ = fmt.Sprint(r.Level, r.Message, r.Timestamp, r.Details)
			previous, rows = r.ID, rows+1
			return false
		})
		walk(&w, root, createTable, func(page uint32) []byte { // an error is a valid result
			start := int64(page-1) * int64(pageSize)
			if start+int64(pageSize) > int64(len(file)) {
				return nil
			}
			return file[start : start+int64(pageSize)]
		})
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
