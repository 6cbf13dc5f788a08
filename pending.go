package main

import "modernc.org/sqlite/vtab"

// A pendingTable presents the batches of a transaction to SQLite as a virtual
// table, so that one INSERT … SELECT copies all rows. That costs a third of
// binding them to the parameters of INSERT statements.
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

// A pendingCursor points to a row of its table's batches.
type pendingCursor struct {
	table *pendingTable
	batch int
	row   int
	start uint32 // where the row starts in its batch's text
}

// Filter moves the cursor to the first row.
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

// Eof relies on the fact that no batch is empty.
func (c *pendingCursor) Eof() bool { return c.batch == len(c.table.batches) }

// Column returns the text of a column, or nil for missing details.
func (c *pendingCursor) Column(col int) (vtab.Value, error) {
	b := c.table.batches[c.batch]
	return b.value(c.start, &b.rows[c.row], col), nil
}

func (c *pendingCursor) Rowid() (int64, error) { return 0, nil }
func (c *pendingCursor) Close() error          { return nil }
