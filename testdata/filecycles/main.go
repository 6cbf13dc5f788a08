// Filecycles fails if files of a package depend on each other in a cycle. A
// file depends on another if it uses an identifier that the other declares. A
// method counts where it is declared.
//
//	go run -C testdata/filecycles . ../.. ../../forward
package main

import (
	"fmt"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	failed := false
	for _, dir := range os.Args[1:] {
		loaded, err := packages.Load(&packages.Config{
			Mode: packages.NeedName | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports,
			Dir:  dir,
		}, "./...")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if packages.PrintErrors(loaded) > 0 {
			os.Exit(1)
		}
		for _, p := range loaded {
			for _, cycle := range cycles(dependencies(p)) {
				fmt.Printf("%s: these files depend on each other: %s\n", p.PkgPath, strings.Join(cycle, " "))
				failed = true
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

// A graph maps a file to the files it depends on.
type graph map[string]map[string]bool

func dependencies(p *packages.Package) graph {
	g := make(graph)
	for id, object := range p.TypesInfo.Uses {
		if !isDeclaredInPackage(p.Types, object) {
			continue
		}
		from, to := fileOf(p.Fset, id.Pos()), fileOf(p.Fset, object.Pos())
		if from == to {
			continue
		}
		if g[from] == nil {
			g[from] = make(map[string]bool)
		}
		g[from][to] = true
	}
	return g
}

// isDeclaredInPackage reports whether object is a package-level declaration, a
// field or a method of p.
func isDeclaredInPackage(p *types.Package, object types.Object) bool {
	local := object.Parent() != nil && object.Parent() != p.Scope()
	return object.Pkg() == p && object.Pos().IsValid() && !local
}

// fileOf returns the name of the file at pos. Code that easyjson generates
// counts as part of the file that it is generated from.
func fileOf(fset *token.FileSet, pos token.Pos) string {
	return strings.Replace(filepath.Base(fset.Position(pos).Filename), "_easyjson.go", ".go", 1)
}

// cycles returns the strongly connected components of g with more than one
// file, by Tarjan's algorithm.
func cycles(g graph) (found [][]string) {
	index, low := make(map[string]int), make(map[string]int)
	onStack := make(map[string]bool)
	var stack []string
	var visit func(file string)
	visit = func(file string) {
		index[file] = len(index) + 1
		low[file] = index[file]
		stack = append(stack, file)
		onStack[file] = true
		for _, next := range slices.Sorted(maps.Keys(g[file])) {
			if index[next] == 0 {
				visit(next)
				low[file] = min(low[file], low[next])
			} else if onStack[next] {
				low[file] = min(low[file], index[next])
			}
		}
		if low[file] != index[file] {
			return
		}
		start := slices.Index(stack, file)
		component := slices.Clone(stack[start:])
		stack = stack[:start]
		for _, f := range component {
			onStack[f] = false
		}
		if len(component) > 1 {
			slices.Sort(component)
			found = append(found, component)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(g)) {
		if index[file] == 0 {
			visit(file)
		}
	}
	return found
}
