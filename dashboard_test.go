package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The dashboard asks for metrics and label values that exist, and for nothing
// else.
func TestDashboardUsesMetricsThatExist(t *testing.T) {
	s := newTestService(t)
	exposed := s.do("GET", "/metrics", nil).Body.String()
	text, err := os.ReadFile("deploy/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Templating struct{ List []struct{ Query string } }
		Panels     []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []string
	for _, variable := range dashboard.Templating.List {
		if strings.HasPrefix(variable.Query, "label_values") {
			queries = append(queries, variable.Query)
		}
	}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	if len(queries) < 10 {
		t.Fatalf("the dashboard has %d queries", len(queries))
	}
	metric := regexp.MustCompile(`[a-z][a-z_]*_[a-z_]+`)
	label := regexp.MustCompile(`(\w+)="(\w+)"`)
	functions := " histogram_quantile label_values "
	for _, query := range queries {
		found := 0
		for _, name := range metric.FindAllString(strings.ReplaceAll(query, "$__rate_interval", ""), -1) {
			if strings.Contains(functions, " "+name+" ") {
				continue
			}
			found++
			if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(exposed) {
				t.Errorf("%s asks for %s, which /metrics does not have", query, name)
			}
		}
		if found == 0 {
			t.Errorf("%s asks for no metric", query)
		}
		for _, m := range label.FindAllString(query, -1) {
			if !strings.Contains(exposed, m) {
				t.Errorf("%s asks for %s, which /metrics does not have", query, m)
			}
		}
	}
}
