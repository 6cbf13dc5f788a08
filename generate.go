//go:build ignore

// Generate writes logentry_easyjson.go. easyjson has to import the package it
// generates for, which cannot be main, so it works on a copy under another
// name.
package main

import (
	"bytes"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if err := generate("logentry.go", "logentry_easyjson.go"); err != nil {
		log.Fatal(err)
	}
}

func generate(source, generated string) error {
	dir, err := os.MkdirTemp("", "easyjson")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	var files []string
	for _, pattern := range []string{"*.go", "*.s", "*.html", "go.mod", "go.sum"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		files = append(files, matches...)
	}
	for _, file := range files {
		if file == generated || file == "generate.go" {
			continue
		}
		if err := rename(file, filepath.Join(dir, file), "package main", "package ingester"); err != nil {
			return err
		}
	}
	easyjson := exec.Command("go", "tool", "easyjson", "-no_std_marshalers", source)
	easyjson.Dir = dir
	easyjson.Stderr = os.Stderr
	if err := easyjson.Run(); err != nil {
		return err
	}
	return rename(filepath.Join(dir, generated), generated, "package ingester", "package main")
}

// rename copies a Go file under another package clause.
func rename(from, to, old, new string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("\n"+old+"\n"), []byte("\n"+new+"\n"), 1)
	if rest, ok := bytes.CutPrefix(text, []byte(old+"\n")); ok {
		text = append([]byte(new+"\n"), rest...)
	}
	return os.WriteFile(to, text, 0o644)
}
