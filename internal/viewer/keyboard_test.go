package viewer

import "testing"

func TestPageKeyboard(t *testing.T) {
	s := newSite(t)
	s.fill(500)
	p := openTab(t, s.url+"/", desktop)
	p.wait(`$$(".row").length > 10`)
	p.wait("isLoaded()")
	p.press("j")
	p.check("state.selected", 500)
	p.press("j", "j", "k")
	p.check("state.selected", 499)
	p.press("Enter")
	p.wait(`$(".row.open .panel")`)
	p.check("[...state.opened].join()", "499")
	p.press("Escape")
	p.check("state.opened.size", 0)

	// The selected entry stays visible.
	for range 40 {
		p.press("j")
	}
	p.check("state.selected", 459)
	p.check(`(() => {
		const selected = row(459).getBoundingClientRect();
		const list = $("#list").getBoundingClientRect();
		return selected.top >= list.top - 1 && selected.bottom <= list.bottom + 1;
	})()`, true)
	p.press("g")
	p.check("state.selected", 500)
	p.press("Escape")
	p.check("state.selected", 0)

	p.press("/")
	p.check("document.activeElement.id", "search")
	p.typeText(`"ENTRY 77"`)
	p.press("Enter")
	p.wait("state.entries.length === 1")
	p.check("location.search", "?words=%22ENTRY+77%22")
	p.press("/", "Escape")
	p.check(`document.activeElement.id === "search"`, false)
	p.press("u")
	p.check("location.search", "?words=%22ENTRY+77%22&zone=utc")
	p.press("c")
	p.wait("state.entries.length > 1")
	p.press("?")
	p.check(`$("#helpDialog").open`, true)
	p.press("Escape")
	p.check(`$("#helpDialog").open`, false)
}

// The Tab key reaches the list, arrow keys and PageDown work from the start, and
// the focus never falls back to the body.
func TestPageKeyboardFocus(t *testing.T) {
	s := newSite(t)
	s.fill(500)
	p := openTab(t, s.url+"/?words=entry", desktop)
	p.wait("isLoaded()")
	p.press("ArrowDown", "ArrowDown", "ArrowUp")
	p.check("state.selected", 500)
	p.press("PageDown")
	p.check("state.selected < 490 && state.selected > 400", true)
	p.check(`document.activeElement.closest(".row").dataset.id === String(state.selected)`, true)

	p.eval(`$("#help").focus()`)
	reached := false
	for range 20 {
		p.press("Tab")
		reached = reached || p.eval(`document.activeElement.className === "toggle"`) == true
	}
	if !reached {
		t.Error("the Tab key does not reach an entry")
	}
	// Only one row is in the tab order.
	p.check(`$$(".toggle").filter((button) => button.tabIndex === 0).length`, 1)

	const notBody = "document.activeElement !== document.body"
	p.press("j")
	p.eval(`changeQuery({ words: '"entry 4"' })`)
	p.wait("isLoaded()")
	p.wait(notBody)
	p.eval(`buttonWith("Clear all").focus()`)
	p.press("Enter")
	p.wait("isLoaded() && !state.query.words")
	p.wait(notBody)
	p.press("/", "Escape")
	p.wait(notBody)
	p.press("/")
	p.typeText("nothing like this")
	p.press("Enter")
	p.wait(`isLoaded() && !$("#notice").hidden`)
	p.eval(`$$("#notice button").at(-1).focus()`)
	p.press("Enter")
	p.wait("isLoaded() && state.entries.length")
	p.wait(notBody)
}

// Shortcuts of single characters can be turned off.
func TestPageKeyboardOff(t *testing.T) {
	s := newSite(t)
	s.fill(5)
	p := openTab(t, s.url+"/", desktop)
	p.wait("isLoaded()")
	p.press("?")
	p.click(`$("#useKeys")`)
	p.press("Escape", "j", "p")
	p.check("location.search", "?keys=0")
	p.check("state.selected", 0)
	p.press("ArrowDown", "Enter")
	p.check("[...state.opened].join()", 5)
	p.check("location.search", "?open=5&keys=0")
}
