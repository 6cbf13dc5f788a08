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

// compose.yaml is read as docker compose config reads it, with example.env as
// its .env and what has to be put there.
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
	ingester, forwarder, postgres := project.Services["ingester"], project.Services["forwarder"], project.Services["postgres"]

	areFlags(t, "../..", ingester.Command)
	if ingester.StopGracePeriod == nil || time.Duration(*ingester.StopGracePeriod) <= drainTimeout(t) {
		t.Errorf("the ingester has %v to end", ingester.StopGracePeriod)
	}
	for _, name := range []string{"ingester", "postgres"} {
		if forwarder.DependsOn[name].Condition != types.ServiceConditionHealthy {
			t.Errorf("the forwarder does not wait for the %s", name)
		}
	}
	if postgres.HealthCheck == nil || len(postgres.HealthCheck.Test) == 0 {
		t.Error("nobody asks PostgreSQL whether it is up")
	}
	if forwarder.Image != ingester.Image || !slices.Equal(forwarder.Entrypoint, []string{"/forward"}) {
		t.Errorf("the forwarder is %v of %s", forwarder.Entrypoint, forwarder.Image)
	}
	if forwarder.Volumes[0].Source != ingester.Volumes[0].Source || forwarder.Volumes[0].Target != ingester.Volumes[0].Target {
		t.Error("the forwarder and the ingester have different volumes")
	}
	to := *forwarder.Environment["FORWARD_TO"]
	if password := *postgres.Environment["POSTGRES_PASSWORD"]; password == "" || !strings.Contains(to, ":"+password+"@postgres:") {
		t.Errorf("the forwarder goes to %s", to)
	}

	// Nothing runs with a key or a password that everybody knows.
	for _, name := range []string{"LOG_INGESTER_API_KEYS", "POSTGRES_PASSWORD"} {
		known := env.Clone()
		known[name] = example[name]
		_, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
			WorkingDir:  "..",
			ConfigFiles: []types.ConfigFile{{Filename: "../compose.yaml"}},
			Environment: known,
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("with the example's %s: %v", name, err)
		}
	}
}
