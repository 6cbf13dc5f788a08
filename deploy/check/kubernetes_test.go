// Package check tests the files in deploy/ against the types of the Kubernetes API,
// against each other, and against the flags of both programs.
package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const kubernetes = "../kubernetes"

var variants = []string{"statefulset", "daemonset"}

// A workload holds the common parts of a StatefulSet and a DaemonSet.
type workload struct {
	name     string
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
	headless string // name of the headless service
}

// A cluster holds the objects of one variant that kubectl apply -k would send.
type cluster struct {
	workloads []workload
	services  map[string]*corev1.Service
	secrets   map[string]*corev1.Secret
	policies  []*networkingv1.NetworkPolicy
	budgets   []*policyv1.PodDisruptionBudget
}

// render builds a variant's kustomization and decodes each object into its API
// type. An unknown field is an error.
func render(t *testing.T, variant string) *cluster {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
		Run(filesys.MakeFsOnDisk(), filepath.Join(kubernetes, variant))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	c := &cluster{services: map[string]*corev1.Service{}, secrets: map[string]*corev1.Secret{}}
	for _, resource := range rendered.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", resource.CurId(), err)
		}
		switch o := object.(type) {
		case *appsv1.StatefulSet:
			c.workloads = append(c.workloads, workload{
				name:     o.Name,
				selector: o.Spec.Selector,
				template: o.Spec.Template,
				claims:   o.Spec.VolumeClaimTemplates,
				headless: o.Spec.ServiceName,
			})
		case *appsv1.DaemonSet:
			c.workloads = append(c.workloads, workload{name: o.Name, selector: o.Spec.Selector, template: o.Spec.Template})
		case *corev1.Service:
			c.services[o.Name] = o
		case *corev1.Secret:
			c.secrets[o.Name] = o
		case *networkingv1.NetworkPolicy:
			c.policies = append(c.policies, o)
		case *policyv1.PodDisruptionBudget:
			c.budgets = append(c.budgets, o)
		default:
			t.Errorf("unexpected object of type %T: add a check for it", o)
		}
	}
	if len(c.workloads) != 1 || len(c.services) == 0 || len(c.secrets) != 1 || len(c.policies) != 1 {
		t.Fatalf("%s: got %d workloads, %d services, %d secrets, %d network policies; want 1, at least 1, 1, 1",
			variant, len(c.workloads), len(c.services), len(c.secrets), len(c.policies))
	}
	return c
}

// TestKustomizationsListTheirFiles checks that each kustomization lists exactly the
// files of its directory.
func TestKustomizationsListTheirFiles(t *testing.T) {
	for _, dir := range append([]string{"base"}, variants...) {
		text, err := os.ReadFile(filepath.Join(kubernetes, dir, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var kustomization struct{ Resources []string }
		if err := yaml.Unmarshal(text, &kustomization); err != nil {
			t.Fatal(err)
		}
		listed := slices.DeleteFunc(kustomization.Resources, func(name string) bool { return name == "../base" })
		entries, err := os.ReadDir(filepath.Join(kubernetes, dir))
		if err != nil {
			t.Fatal(err)
		}
		var files []string
		for _, e := range entries {
			if e.Name() != "kustomization.yaml" {
				files = append(files, e.Name())
			}
		}
		slices.Sort(listed)
		if !slices.Equal(listed, files) {
			t.Errorf("%s: kustomization lists %v, want the files %v", dir, listed, files)
		}
	}
}

// TestReferences checks that selectors, ports, probes, volumes and secrets refer to
// something that exists.
func TestReferences(t *testing.T) {
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			c := render(t, variant)
			w := c.workloads[0]
			pod := labels.Set(w.template.Labels)
			selects := func(what string, s *metav1.LabelSelector) {
				t.Helper()
				selector, err := metav1.LabelSelectorAsSelector(s)
				if err != nil || selector.Empty() || !selector.Matches(pod) {
					t.Errorf("%s: selector %v does not match the pod labels %v (error: %v)", what, s, pod, err)
				}
			}
			selects(w.name, w.selector)
			for _, spread := range w.template.Spec.TopologySpreadConstraints {
				selects("topology spread constraint", spread.LabelSelector)
			}
			for _, p := range c.policies {
				selects("network policy", &p.Spec.PodSelector)
				for _, in := range p.Spec.Ingress {
					for _, port := range in.Ports {
						hasPort(t, containers(w), *port.Port)
					}
				}
			}
			for _, b := range c.budgets {
				selects("pod disruption budget", b.Spec.Selector)
			}
			for name, s := range c.services {
				if len(s.Spec.Selector) == 0 || !labels.SelectorFromSet(s.Spec.Selector).Matches(pod) {
					t.Errorf("service %s: selector %v does not match the pod labels %v", name, s.Spec.Selector, pod)
				}
				for _, port := range s.Spec.Ports {
					hasPort(t, containers(w), port.TargetPort)
				}
			}
			if variant == "statefulset" {
				if s := c.services[w.headless]; s == nil || s.Spec.ClusterIP != corev1.ClusterIPNone {
					t.Errorf("serviceName %q: want a headless service of that name", w.headless)
				}
			}
			checkVolumes(t, c, w)
			for _, container := range containers(w) {
				for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
					if probe != nil {
						hasPort(t, []corev1.Container{container}, probe.HTTPGet.Port)
					}
				}
				for _, env := range container.Env {
					if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
						ref := env.ValueFrom.SecretKeyRef
						hasKey(t, c, ref.Name, ref.Key)
					}
				}
			}
		})
	}
}

func containers(w workload) []corev1.Container {
	return slices.Concat(w.template.Spec.InitContainers, w.template.Spec.Containers)
}

func hasPort(t *testing.T, containers []corev1.Container, port intstr.IntOrString) {
	t.Helper()
	for _, container := range containers {
		for _, p := range container.Ports {
			if port.StrVal == p.Name && p.Name != "" || port.IntVal == p.ContainerPort {
				return
			}
		}
	}
	t.Errorf("port %s: no container has it", port.String())
}

func hasKey(t *testing.T, c *cluster, secret, key string) {
	t.Helper()
	if s := c.secrets[secret]; s == nil || s.StringData[key] == "" {
		t.Errorf("secret %s has no key %s", secret, key)
	}
}

// checkVolumes checks that each mount refers to a volume, each volume is mounted,
// and each secret file refers to a key of the secret.
func checkVolumes(t *testing.T, c *cluster, w workload) {
	t.Helper()
	mounted := map[string]bool{} // by volume name
	for _, claim := range w.claims {
		mounted[claim.Name] = false
	}
	for _, volume := range w.template.Spec.Volumes {
		mounted[volume.Name] = false
		if volume.Secret != nil {
			for _, item := range volume.Secret.Items {
				hasKey(t, c, volume.Secret.SecretName, item.Key)
			}
		}
	}
	for _, container := range containers(w) {
		for _, mount := range container.VolumeMounts {
			if _, ok := mounted[mount.Name]; !ok {
				t.Errorf("container %s mounts %s, which is not a volume of the pod", container.Name, mount.Name)
			}
			mounted[mount.Name] = true
		}
	}
	for name, ok := range mounted {
		if !ok {
			t.Errorf("volume %s is not mounted", name)
		}
	}
}

// TestPods checks that the pods meet the Pod Security Standard restricted, except
// for the init container that needs root, and that they have enough time to shut
// down.
func TestPods(t *testing.T) {
	for _, variant := range variants {
		w := render(t, variant).workloads[0]
		spec := w.template.Spec
		if s := spec.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser == 0 || *s.FSGroup != *s.RunAsGroup ||
			s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: pod security context %v, want non-root, fsGroup = runAsGroup, seccomp RuntimeDefault", variant, s)
		}
		if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks {
			t.Errorf("%s: automountServiceAccountToken = %v, enableServiceLinks = %v, want both false",
				variant, *spec.AutomountServiceAccountToken, *spec.EnableServiceLinks)
		}
		for _, container := range containers(w) {
			s := container.SecurityContext
			if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
				!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: %s: security context %v, want no privilege escalation, a read-only root and no capabilities",
					variant, container.Name, s)
			}
			root := s.RunAsUser != nil && *s.RunAsUser == 0
			if root != (container.Name == "own-directory") || !root && len(s.Capabilities.Add) > 0 {
				t.Errorf("%s: %s: root = %v with added capabilities %v, want them only for own-directory",
					variant, container.Name, root, s.Capabilities.Add)
			}
			r := container.Resources
			if r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Limits.Memory().Cmp(*r.Requests.Memory()) < 0 {
				t.Errorf("%s: %s: resources %v, want requests of CPU and memory, and a memory limit", variant, container.Name, r)
			}
		}
		ingester := container(t, w, "ingester")
		needs := time.Duration(ingester.Lifecycle.PreStop.Sleep.Seconds)*time.Second + drainTimeout(t)
		if has := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; has <= needs {
			t.Errorf("%s: terminationGracePeriodSeconds = %v, want more than %v", variant, has, needs)
		}
	}
}

func container(t *testing.T, w workload, name string) corev1.Container {
	t.Helper()
	i := slices.IndexFunc(w.template.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no container %s", name)
	}
	return w.template.Spec.Containers[i]
}

// TestArguments checks that every argument is a flag of the program that gets it.
func TestArguments(t *testing.T) {
	for _, variant := range variants {
		w := render(t, variant).workloads[0]
		for name, dir := range map[string]string{"ingester": "../..", "forwarder": "../../forward"} {
			c := container(t, w, name)
			if len(c.Args) == 0 {
				t.Errorf("%s: %s has no arguments", variant, name)
			}
			areFlags(t, dir, c.Args)
		}
	}
}

// areFlags checks that the help of the program in dir lists all flags of args.
func areFlags(t *testing.T, dir string, args []string) {
	t.Helper()
	help := help(t, dir)
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(name) + `\b`).MatchString(help) {
			t.Errorf("%s has no flag %s", dir, name)
		}
	}
}

// drainTimeout returns the default of -drain-timeout.
func drainTimeout(t *testing.T) time.Duration {
	t.Helper()
	_, after, _ := strings.Cut(help(t, "../.."), "-drain-timeout ")
	m := regexp.MustCompile(`\(default (\w+)\)`).FindStringSubmatch(after)
	if m == nil {
		t.Fatal("help shows no default for -drain-timeout")
	}
	d, err := time.ParseDuration(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// help returns the output of -h of the program in dir.
func help(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("go", "run", "-C", dir, ".", "-h").CombinedOutput()
	if err != nil {
		t.Fatalf("go run -C %s . -h: %v\n%s", dir, err, out)
	}
	return string(out)
}
