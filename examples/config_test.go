//go:build linux

package examples

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The files of shippers that CI cannot install have valid syntax, send to
// /ingest and retry. The lines that ensure this are listed here.
func TestConfig(t *testing.T) {
	for _, c := range []struct {
		file   string
		syntax func(t *testing.T, file, text string) error
		lines  []string
	}{
		{"fluent-bit/fluent-bit.yaml", checkYAML, []string{
			"host: localhost", "port: 3002", "uri: /ingest", "format: json_lines",
			"header: Authorization Bearer KEY", "retry_limit: no_limits",
		}},
		{"fluent-bit/docker.yaml", checkYAML, []string{
			"host: localhost", "port: 3002", "uri: /ingest", "format: json_lines",
			"header: Authorization Bearer KEY", "retry_limit: no_limits",
			"multiline.parser: docker  # joins the parts of long lines", "key_name: log", "parser: json",
		}},
		{"fluent-bit/kubernetes.yaml", checkYAML, []string{
			"host: localhost", "port: 3002", "uri: /ingest", "format: json_lines",
			"header: Authorization Bearer KEY", "retry_limit: no_limits", "multiline.parser: docker, cri", "merge_log: on",
		}},
		{"fluent-bit/journald.yaml", checkYAML, []string{
			"host: localhost", "port: 3002", "uri: /ingest", "format: json_lines",
			"header: Authorization Bearer KEY", "retry_limit: no_limits", "- name: systemd",
		}},
		{"filebeat/filebeat.yml", checkYAML, []string{
			// By default, Filebeat repeats a request without a limit.
			"output.elasticsearch:", `hosts: ["http://localhost:3002/elasticsearch"]`, "password: KEY",
			"setup.ilm.enabled: false", "setup.template.enabled: false",
		}},
		{"otel-collector/journald.yaml", checkYAML, []string{
			"logs_endpoint: http://localhost:3002/v1/logs", "Authorization: Bearer KEY",
			"max_elapsed_time: 0 # the default gives up after five minutes",
			"parse_from: body.PRIORITY",
		}},
		{"vector/vector.yaml", checkYAML, []string{
			// By default, Vector repeats a request without a limit.
			"type: http", "uri: http://localhost:3002/ingest", "codec: json",
			"method: newline_delimited", "strategy: bearer", "token: KEY",
		}},
		{"fluentd/fluent.conf", checkSections, []string{
			"@type http", "endpoint http://localhost:3002/ingest", "retryable_response_codes 503",
			`headers {"Authorization":"Bearer KEY"}`, "retry_forever true",
		}},
		{"logstash/logstash.conf", checkBrackets, []string{
			// By default, Logstash repeats a request after a 503 without a limit.
			"http {", `url => "http://localhost:3002/ingest"`, `http_method => "post"`,
			`format => "json_batch"`, `headers => { "Authorization" => "Bearer KEY" }`,
		}},
		{"rsyslog/ingest.conf", checkBrackets, []string{
			`action(type="omhttp" server="localhost" serverport="3002" useHttps="off" restpath="ingest"`,
			`template="ingest" httpheaders=["Authorization: Bearer KEY"]`,
			`action.resumeRetryCount="-1" action.resumeInterval="1")`,
		}},
	} {
		t.Run(c.file, func(t *testing.T) {
			text, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.syntax(t, c.file, string(text)); err != nil {
				t.Error(err)
			}
			var lines []string
			for line := range strings.Lines(string(text)) {
				lines = append(lines, strings.TrimSpace(line))
			}
			for _, want := range c.lines {
				if !slices.Contains(lines, want) {
					t.Errorf("no line %q", want)
				}
			}
		})
	}
}

func checkYAML(t *testing.T, file, _ string) error {
	python := venvPython(t)
	out, err := exec.Command(python, "-c", "import sys, yaml; yaml.safe_load(open(sys.argv[1]))", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("parse %s: %w\n%s", file, err, out)
	}
	return nil
}

var (
	sectionStart = regexp.MustCompile(`^<(\w+)( [^<>]+)?>$`)
	sectionEnd   = regexp.MustCompile(`^</(\w+)>$`)
	parameter    = regexp.MustCompile(`^@?\w+ \S`)
)

// checkSections checks that a file consists of nested sections, parameters and
// comments, as Fluentd's do.
func checkSections(_ *testing.T, file, text string) error {
	var open []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := sectionStart.FindStringSubmatch(line); m != nil {
			open = append(open, m[1])
		} else if m := sectionEnd.FindStringSubmatch(line); m != nil {
			if len(open) == 0 || open[len(open)-1] != m[1] {
				return fmt.Errorf("%s: %s ends no section", file, line)
			}
			open = open[:len(open)-1]
		} else if !strings.HasPrefix(line, "#") && line != "" && (len(open) == 0 || !parameter.MatchString(line)) {
			return fmt.Errorf("%s: unexpected line %s", file, line)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%s: no end of <%s>", file, open[len(open)-1])
	}
	return nil
}

var quotedOrComment = regexp.MustCompile(`"[^"\n]*"|#.*`)

// checkBrackets checks that the brackets outside quotes and comments match.
func checkBrackets(_ *testing.T, file, text string) error {
	closing := map[rune]rune{'(': ')', '[': ']', '{': '}'}
	var open []rune
	for _, c := range quotedOrComment.ReplaceAllString(text, "") {
		switch {
		case closing[c] != 0:
			open = append(open, closing[c])
		case strings.ContainsRune(")]}\"", c):
			if len(open) == 0 || open[len(open)-1] != c {
				return fmt.Errorf("%s: unexpected %c", file, c)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%s: no %c at the end", file, open[len(open)-1])
	}
	return nil
}
