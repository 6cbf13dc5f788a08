package viewer

import (
	"bytes"
	"path"
	"regexp"
)

var (
	blockComments = regexp.MustCompile(`(?s) ?/\*.*?\*/ ?`)
	lineComments  = regexp.MustCompile(`(?m)(^| )\s*//([ \t].*)?$`)
	indentation   = regexp.MustCompile(`(?m)^\s+`)

	spaces        = regexp.MustCompile(` ?(=>|[!=]==|[-+*/<>]=|&&|\|\||\?\?) ?|(\{) | (\}|\{)`)
	keywordSpaces = regexp.MustCompile(`\b(if|for|while|catch|switch|return) \(`)
	styleSpaces   = regexp.MustCompile(` (\{)|([:,]) `)
	styleBreaks   = regexp.MustCompile(`([;{},])\n`)

	// scriptBreaks match line breaks that do not end a statement.
	scriptBreaks = regexp.MustCompile(`([;{,(\[]|=>|&&|\|\|)\n|\n([})\]])`)
)

// stripped returns a file of the page without comments and most white space, which are
// more than a third of it. It does not parse the file, so strings of the page must not
// have several lines, or contain what is removed, such as spaces around => or braces.
func stripped(name string, text []byte) []byte {
	switch path.Ext(name) {
	case ".css":
		text = blockComments.ReplaceAll(text, nil)
		text = indentation.ReplaceAll(text, nil)
		text = styleSpaces.ReplaceAll(text, []byte("$1$2"))
		text = styleBreaks.ReplaceAll(text, []byte("$1"))
		return bytes.ReplaceAll(text, []byte(";}"), []byte("}"))
	case ".js":
		text = blockComments.ReplaceAll(text, nil)
		text = lineComments.ReplaceAll(text, nil)
		text = indentation.ReplaceAll(text, nil)
		text = spaces.ReplaceAll(text, []byte("$1$2$3"))
		text = keywordSpaces.ReplaceAll(text, []byte("$1("))
		return scriptBreaks.ReplaceAll(text, []byte("$1$2"))
	}
	return indentation.ReplaceAll(text, nil)
}
