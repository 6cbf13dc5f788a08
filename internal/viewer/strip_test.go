package viewer

import (
	"strings"
	"testing"
)

func TestStripped(t *testing.T) {
	const script = `// A comment.
//
// Another.

/**
 * @param {string} name
 */
export function f(/** @type {number} */ n) { // why
  const url = "http://x//y";
  /* one
   * two */
  const a = { b: n ? "x = y, z" : ´${n} => ${n + 1}´, c: /"/ };
  for (let i = 0; i < 2; i++) a.b ??= " { ";
  return n * 2 / 3; //  why
}
`
	const wantScript = `export function f(n){const url="http://x//y";` +
		`const a={b:n?"x = y, z":´${n} => ${n + 1}´,c:/"/};for(let i=0;i < 2;i++) a.b??=" { ";return n * 2 / 3}
`
	templates := strings.NewReplacer("´", "`")
	want := templates.Replace(wantScript)
	if got := string(stripped("x.js", []byte(templates.Replace(script)))); got != want {
		t.Errorf("script:\n%q, want\n%q", got, want)
	}
	const style = "/* Page */\n\n* {\n  margin: 0;\n}\n\na,\nb > c {\n  color: red; /* why */\n}\n"
	const wantStyle = "*{margin:0}a,b > c{color:red}"
	if got := string(stripped("x.css", []byte(style))); got != wantStyle {
		t.Errorf("style:\n%q, want\n%q", got, wantStyle)
	}
}
