package dbfile

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"

	"modernc.org/sqlite"
)

// A Function implements an SQL function. It must not keep its arguments.
type Function = func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error)

// OpenReadOnly returns a pool of connections that only read the existing database at
// path. Statements can call f, which has nArgs arguments, by its name.
func OpenReadOnly(path, name string, nArgs int32, f Function) (*sql.DB, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c := &connector{
		file: File{Name: path, Info: info},
		dsn:  URI(path) + "?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(1000)&_pragma=cache_size(-512)",
	}
	err = c.driver.RegisterFunction(name, &sqlite.FunctionImpl{NArgs: nArgs, Scalar: f, VolatileArgs: true})
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", name, err)
	}
	return sql.OpenDB(c), nil
}

// A connector opens connections of OpenReadOnly.
type connector struct {
	driver sqlite.Driver
	file   File
	dsn    string
}

// Connect opens only the file that was at the path when the pool was created,
// which is the one that the writer has open. SQLite finds the WAL and its index
// by name: if two different files were open in one process under the same name,
// it would use one WAL for both.
func (c *connector) Connect(context.Context) (driver.Conn, error) {
	if _, err := c.file.Check(); err != nil {
		return nil, err
	}
	return c.driver.Open(c.dsn)
}

func (c *connector) Driver() driver.Driver { return &c.driver }
