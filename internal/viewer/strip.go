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

	literals      = regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"|`[^`\n]*`")
	spaces        = regexp.MustCompile(` ?(=>|[!=]==|[-+*/<>]=|&&|\|\||\?\?|[=?:,;{}]) ?`)
	keywordSpaces = regexp.MustCompile(`\b(if|for|while|catch|switch|return) \(`)
	styleSpaces   = regexp.MustCompile(` (\{)|([:,]) `)
	styleBreaks   = regexp.MustCompile(`([;{},])\n`)

	// scriptBreaks match line breaks that do not end a statement.
	scriptBreaks = regexp.MustCompile(`([;{,(\[]|=>|&&|\|\|)\n|\n([})\]])`)

	// scriptEnds match separators before closing brackets, which need none.
	scriptEnds = regexp.MustCompile(`;(\})|,([})\]])`)
)

// stripped returns a file of the page without comments and most white space, which are
// more than a third of it. It does not parse the file. Scripts must not have templates
// within templates, strings and templates of several lines, loops without a body, or spaces
// around operators in regular expressions.
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
		text = withoutSpaces(text)
		text = scriptBreaks.ReplaceAll(text, []byte("$1$2"))
		return scriptEnds.ReplaceAll(text, []byte("$1$2"))
	}
	return indentation.ReplaceAll(text, nil)
}

// withoutSpaces returns a script without the spaces around operators. Strings and
// templates keep them.
func withoutSpaces(script []byte) (text []byte) {
	for len(script) > 0 {
		end, next := len(script), len(script)
		if literal := literals.FindIndex(script); literal != nil {
			end, next = literal[0], literal[1]
		}
		code := spaces.ReplaceAll(script[:end], []byte("$1"))
		text = append(text, keywordSpaces.ReplaceAll(code, []byte("$1("))...)
		text = append(text, script[end:next]...)
		script = script[next:]
	}
	return text
}
