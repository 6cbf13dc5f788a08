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
	p.typeText("ENTRY 77")
	p.press("Enter")
	p.wait("state.entries.length === 1")
	p.check("location.search", "?q=ENTRY+77")
	p.press("/", "Escape")
	p.check(`document.activeElement.id === "search"`, false)
	p.press("u")
	p.check("location.search", "?q=ENTRY+77&zone=utc")
	p.press("c")
	p.wait("state.entries.length > 1")
	p.press("?")
	p.check(`$("#helpDialog").open`, true)
	p.press("Escape")
	p.check(`$("#helpDialog").open`, false)
}
