package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// TestCompose loads compose.yaml as docker compose config does. The environment is
// example.env with a key and a password set.
func TestCompose(t *testing.T) {
	example, err := dotenv.Read("../example.env")
	if err != nil {
		t.Fatal(err)
	}
	env := types.Mapping(example).Clone()
	env["LOG_INGESTER_API_KEYS"], env["POSTGRES_PASSWORD"] = "key", "password"
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  "..",
		ConfigFiles: []types.ConfigFile{{Filename: "../compose.yaml"}},
		Environment: env,
	})
	if err != nil {
		t.Fatal(err)
	}
	ingester := project.Services["ingester"]
	forwarder := project.Services["forwarder"]
	postgres := project.Services["postgres"]

	areFlags(t, "../..", ingester.Command)
	if drain := drainTimeout(t); ingester.StopGracePeriod == nil || time.Duration(*ingester.StopGracePeriod) <= drain {
		t.Errorf("ingester: stop_grace_period = %v, want more than -drain-timeout (%v)", ingester.StopGracePeriod, drain)
	}
	for _, name := range []string{"ingester", "postgres"} {
		if got := forwarder.DependsOn[name].Condition; got != types.ServiceConditionHealthy {
			t.Errorf("forwarder: depends_on %s has condition %q, want %q", name, got, types.ServiceConditionHealthy)
		}
	}
	if postgres.HealthCheck == nil || len(postgres.HealthCheck.Test) == 0 {
		t.Error("postgres: no health check")
	}
	if forwarder.Image != ingester.Image || !slices.Equal(forwarder.Entrypoint, []string{"/forward"}) {
		t.Errorf("forwarder: entrypoint %v of image %s, want [/forward] of %s",
			forwarder.Entrypoint, forwarder.Image, ingester.Image)
	}
	if f, i := forwarder.Volumes[0], ingester.Volumes[0]; f.Source != i.Source || f.Target != i.Target {
		t.Errorf("forwarder mounts %v, ingester %v; want the same volume", f, i)
	}
	to := *forwarder.Environment["FORWARD_TO"]
	password := *postgres.Environment["POSTGRES_PASSWORD"]
	if password == "" || !strings.Contains(to, ":"+password+"@postgres:") {
		t.Errorf("forwarder: FORWARD_TO = %s, want the password %q and the host postgres", to, password)
	}

	// With the values of example.env nothing starts, so that nothing runs with a
	// public key or password.
	for _, name := range []string{"LOG_INGESTER_API_KEYS", "POSTGRES_PASSWORD"} {
		known := env.Clone()
		known[name] = example[name]
		_, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
			WorkingDir:  "..",
			ConfigFiles: []types.ConfigFile{{Filename: "../compose.yaml"}},
			Environment: known,
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("loading with the example value of %s: got error %v, want one that names the variable", name, err)
		}
	}
}
