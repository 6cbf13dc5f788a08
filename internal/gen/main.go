// Gen writes logentry_easyjson.go. It is run by go generate in the root
// directory.
//
// easyjson imports the package that it generates code for, but a main package
// cannot be imported. So gen runs easyjson on a copy of the module in which the
// root package has another name.
package main

import (
	"bytes"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	source    = "logentry.go"
	generated = "logentry_easyjson.go"
)

func main() {
	if err := generate(); err != nil {
		log.Fatal(err)
	}
}

func generate() error {
	dir, err := os.MkdirTemp("", "easyjson")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(dir); err != nil {
		return err
	}
	easyjson := exec.Command("go", "tool", "easyjson", "-no_std_marshalers", source)
	easyjson.Dir = dir
	easyjson.Stderr = os.Stderr
	if err := easyjson.Run(); err != nil {
		return err
	}
	return copyFile(filepath.Join(dir, generated), generated, "package ingester", "package main")
}

// copyModule copies the module's root package, without its tests and generated
// code, and all of internal to dir.
func copyModule(dir string) error {
	if err := os.CopyFS(filepath.Join(dir, "internal"), os.DirFS("internal")); err != nil {
		return err
	}
	for _, pattern := range []string{"*.go", "*.s", "go.mod", "go.sum"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, file := range files {
			if file == generated || strings.HasSuffix(file, "_test.go") {
				continue
			}
			if err := copyFile(file, filepath.Join(dir, file), "package main", "package ingester"); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyFile copies a file and replaces its package clause, if it has one.
func copyFile(from, to, oldClause, newClause string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	// Comments may precede the clause, so look for the first line that equals it.
	text = bytes.Replace(append([]byte("\n"), text...), []byte("\n"+oldClause+"\n"), []byte("\n"+newClause+"\n"), 1)
	return os.WriteFile(to, text[1:], 0o644)
}
