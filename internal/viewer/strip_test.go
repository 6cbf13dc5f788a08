package viewer

import "testing"

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
  return n * 2 / 3; //  why
}
`
	const wantScript = `export function f(n){const url = "http://x//y";return n * 2 / 3;}
`
	if got := string(stripped("x.js", []byte(script))); got != wantScript {
		t.Errorf("script:\n%q, want\n%q", got, wantScript)
	}
	const style = "/* Page */\n\n* {\n  margin: 0;\n}\n\na,\nb > c {\n  color: red; /* why */\n}\n"
	const wantStyle = "*{margin:0}a,b > c{color:red}"
	if got := string(stripped("x.css", []byte(style))); got != wantStyle {
		t.Errorf("style:\n%q, want\n%q", got, wantStyle)
	}
}
