package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// accepts checks that serve takes settings, which are all that it is given.
func accepts(t *testing.T, bin string, env []string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, append(append([]string{"serve"}, args...), "--print-config")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%q %q: %v\n%s", args, env, err, out)
	}
}

// container is what the test looks at of a container of the Deployment.
type container struct {
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	Args           []string
	Env            []struct{ Name, Value string }
	LivenessProbe  probe `yaml:"livenessProbe"`
	ReadinessProbe probe `yaml:"readinessProbe"`
	VolumeMounts   []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

type labels struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type manifest struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		Selector yaml.Node
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []container
				Volumes    []struct{ Name string }
			}
		}
		Ports []struct {
			Name       string
			TargetPort string `yaml:"targetPort"`
		}
		Rules []struct {
			HTTP struct {
				Paths []struct {
					Backend struct {
						Service struct {
							Name string
							Port struct{ Name string }
						}
					}
				}
			}
		}
	}
}

// The manifests fit together, and serve takes what they set.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	byKind := map[string]manifest{}
	for d := yaml.NewDecoder(strings.NewReader(read(t, "kubernetes/sockeye.yaml"))); ; {
		var m manifest
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		byKind[m.Kind] = m
	}
	pod := byKind["Deployment"].Spec.Template
	c := pod.Spec.Containers[0]
	var selector, service labels
	if err := errors.Join(nodeOf(byKind["Deployment"]).Decode(&selector), nodeOf(byKind["PodDisruptionBudget"]).Decode(&service)); err != nil {
		t.Fatal(err)
	}
	var direct map[string]string
	svc := byKind["Service"]
	if err := nodeOf(svc).Decode(&direct); err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]map[string]string{
		"Deployment": selector.MatchLabels, "PodDisruptionBudget": service.MatchLabels, "Service": direct,
	} {
		if fmt.Sprint(got) != fmt.Sprint(pod.Metadata.Labels) || len(got) == 0 {
			t.Errorf("%s selects %v, the pods are %v", what, got, pod.Metadata.Labels)
		}
	}
	if back := byKind["Ingress"].Spec.Rules[0].HTTP.Paths[0].Backend.Service; back.Name != svc.Metadata.Name || back.Port.Name != svc.Spec.Ports[0].Name {
		t.Errorf("the Ingress leads to %+v", back)
	}
	if svc.Spec.Ports[0].TargetPort != c.Ports[0].Name || c.LivenessProbe.HTTPGet.Port != c.Ports[0].Name || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Error("ports or probes do not fit")
	}
	if len(c.VolumeMounts) != 1 || c.VolumeMounts[0].Name != pod.Spec.Volumes[0].Name {
		t.Error("the secrets are mounted from nowhere")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"redis-password": "secret", "jwt-secret": strings.Repeat("x", 48)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var env []string
	drain := map[string]string{}
	for _, e := range c.Env {
		env = append(env, e.Name+"="+strings.Replace(e.Value, c.VolumeMounts[0].MountPath, dir, 1))
		drain[e.Name] = e.Value
	}
	if drain["SOCKEYE_DRAIN_DELAY"] != "10s" || drain["SOCKEYE_DRAIN_TIMEOUT"] != "30s" || pod.Spec.Grace <= 40 {
		t.Errorf("a pod is killed before it has drained: %v, %d s", drain, pod.Spec.Grace)
	}
	accepts(t, harness.Build(t, "../cmd/sockeye"), env, c.Args[1:]...)
}

func nodeOf(m manifest) *yaml.Node { return &m.Spec.Selector }

// systemd takes the units, and serve what they set.
func TestSystemd(t *testing.T) {
	t.Parallel()
	bin := harness.Build(t, "../cmd/sockeye")
	dir := t.TempDir()
	var units []string
	for _, name := range []string{"sockeye.service", "sockeye@.service"} {
		text := read(t, "systemd/"+name)
		start := regexp.MustCompile(`(?m)^ExecStart=(\S+) serve(.*)$`).FindStringSubmatch(text)
		if start == nil || !strings.Contains(text, "\nKillSignal=SIGTERM\n") {
			t.Fatalf("%s starts or stops something else", name)
		}
		accepts(t, bin, nil, strings.Fields(strings.ReplaceAll(start[2], "%i", "3001"))...)
		unit := filepath.Join(dir, name)
		if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, start[1], bin)), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("there is no systemd-analyze: the units are not verified")
		return
	}
	if out, err := exec.CommandContext(t.Context(), verify, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, unit := range units[:1] {
		if out, err := exec.CommandContext(t.Context(), verify, "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// What the container file copies is there, its build command builds, and serve takes its environment.
func TestContainerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "container/Containerfile")
	for _, m := range regexp.MustCompile(`(?m)^COPY (?:--from=\S+ )?(.*)$`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[0], "--from=") {
			continue
		}
		paths := strings.Fields(m[1])
		for _, path := range paths[:len(paths)-1] {
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Error(err)
			}
		}
	}
	// Building it anew without cgo would take minutes; that nothing needs cgo is what matters.
	build := regexp.MustCompile(`(?m)^RUN CGO_ENABLED=0 go build .* (\./\S+)$`).FindStringSubmatch(text)
	if build == nil {
		t.Fatal("no build command")
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if .CgoFiles}}{{.ImportPath}}{{end}}", build[1])
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	bin := harness.Build(t, filepath.Join("..", build[1]))
	client := t.TempDir()
	if err := os.WriteFile(filepath.Join(client, "socket.io.js"), []byte("//"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"SOCKEYE_OPEN=true"}
	for e := range strings.FieldsSeq(regexp.MustCompile(`(?m)^ENV (.*)$`).FindStringSubmatch(text)[1]) {
		env = append(env, strings.ReplaceAll(e, "/usr/share/sockeye/client", client))
	}
	accepts(t, bin, env)
}

func TestMain(m *testing.M) { testkit.Main(m) }
