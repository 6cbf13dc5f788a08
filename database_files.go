package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"log-ingester/internal/dbfile"
)

// openFiles tracks the files that the writer has open: the database, its WAL and
// the WAL's index. It detects that one of them was moved. It also prevents SQLite
// from replaying or deleting the WAL of a database that was moved.
type openFiles struct {
	log                *slog.Logger
	database, wal, shm dbfile.File // Info is nil until record is called
}

// record remembers the files that c has open. database is the state of the file
// at path before c opened it. If the file was replaced since then, the next
// check reports that.
func (f *openFiles) record(c *conn, path string, database os.FileInfo) error {
	// SQLite follows symbolic links and keeps the WAL next to the target.
	rows, err := c.query("SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		return err
	}
	target := fmt.Sprint(rows[0][0])
	wal, err := os.Stat(target + "-wal")
	if err != nil {
		return err
	}
	shm, err := os.Stat(target + "-shm")
	if err != nil {
		return err
	}
	f.database = dbfile.File{Name: path, Info: database}
	f.wal = dbfile.File{Name: target + "-wal", Info: wal}
	f.shm = dbfile.File{Name: target + "-shm", Info: shm}
	return nil
}

// check returns an error if one of the open files was deleted, renamed or
// replaced: other programs would not find rows that are written to it. Otherwise
// it updates the files' sizes.
func (f *openFiles) check() error {
	for _, file := range []*dbfile.File{&f.database, &f.wal, &f.shm} {
		now, err := file.Check()
		if err != nil {
			return err
		}
		file.Info = now
	}
	return nil
}

// prepare makes sure that path is a regular file and that no WAL of another
// database is next to it. If the file is missing, prepare creates an empty one.
// It returns the file's state.
func (f *openFiles) prepare(path string) (os.FileInfo, error) {
	if err := f.clearStaleWAL(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	missing := errors.Is(err, os.ErrNotExist)
	switch {
	case missing:
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("open %s: not a regular file; choose another file with -db", path)
	case info.Size() > 0:
		return info, nil
	}
	// A leftover WAL belongs to a database that was moved; SQLite would delete
	// it.
	wal := dbfile.Sidecar(path, "-wal")
	if err := syncMove(wal); err != nil {
		return nil, err
	}
	if err := f.quarantineWAL(wal); err != nil {
		return nil, err
	}
	if missing {
		return createFile(path)
	}
	return info, nil
}

// clearStaleWAL quarantines the WAL that is left at the path after its database
// was moved, because SQLite would replay this WAL into the database that is now
// at the path. It also removes the WAL's index: a process that still has the old
// database open would otherwise share the index with the new one.
func (f *openFiles) clearStaleWAL() error {
	if f.database.Info == nil {
		return nil
	}
	switch _, err := f.database.Check(); {
	case err == nil:
		return nil
	case !errors.Is(err, dbfile.ErrReplaced):
		return err
	}
	if err := syncMove(f.wal.Name); err != nil {
		return err
	}
	if _, err := f.wal.Check(); err == nil {
		if err := f.quarantineWAL(f.wal.Name); err != nil {
			return err
		}
	}
	if _, err := f.shm.Check(); err == nil {
		return os.Remove(f.shm.Name)
	}
	return nil
}

// syncMove makes sure that the move of the database with the given WAL survives
// a power loss. A file system can reorder changes of a directory: if only the
// renaming of the WAL or the creation of the next database survived, the moved
// database would be back at its path without its WAL, or would be lost.
func syncMove(wal string) error { return dbfile.SyncDir(filepath.Dir(wal)) }

// quarantineWAL renames the WAL of a database that was moved, or removes it if
// it is empty. The WAL may be missing.
func (f *openFiles) quarantineWAL(wal string) error {
	info, err := os.Stat(wal)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Size() == 0:
		return os.Remove(wal)
	}
	quarantined := wal + "." + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(wal, quarantined); err != nil {
		return err
	}
	f.log.Warn("the moved database has uncheckpointed rows in this WAL; "+
		"rename it to FILE-wal, next to that database, before you open the database", "wal", quarantined)
	return nil
}

// fileMode is the mode of a new database before the umask is applied. SQLite
// uses the same mode for the WAL. Logs may hold secrets, so the files are not
// world-readable. Membership in the file's group is enough for a reader, because
// reading a WAL does not require write permission.
const fileMode = 0o640

// createFile creates an empty file.
func createFile(path string) (os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the file is empty, so nothing can be lost
	return f.Stat()
}
