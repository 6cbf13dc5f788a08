package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresError wraps an error of the driver with the failed action. It is
// permanent if a login was refused, or if a table, column, database, schema or
// privilege is missing, or if a row already exists.
func postgresError(action string, err error) error {
	wrapped := fmt.Errorf("%s: %w", action, err)
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return wrapped
	}
	switch class := e.Code[:min(2, len(e.Code))]; {
	case class == "42", class == "28", class == "3D", class == "3F", e.Code == "23505":
		return permanentError{wrapped}
	}
	return wrapped
}

// isDataError reports whether the values of a row caused the error. Class 22
// means that a type cannot store a value, class 54 that a value is too large.
func isDataError(e *pgconn.PgError) bool {
	return strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "54")
}
