package sockeye_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sockeye-io/sockeye"

// imports has a row for each package: the packages of this module that its code, without tests, may import.
// The row of a directory that ends in /... holds for all packages below it.
var imports = map[string][]string{
	"":                           {"engineio", "adapter", "parser", "internal/event", "internal/ring"},
	"engineio":                   {"internal/eio", "internal/ws", "internal/netpoll", "internal/ring"},
	"parser":                     {"internal/js", "internal/jsonscan", "internal/mpack"},
	"parser/msgpack":             {"parser", "internal/js", "internal/jsonscan", "internal/mpack"},
	"adapter":                    {"parser"},
	"adapter/adaptertest":        {"adapter", "parser", "internal/testkit"},
	"redisadapter":               {"adapter", "parser", "internal/rediswire"},
	"redisadapter/redistest":     {"redisadapter", "internal/testkit"},
	"redisadapter/rueidisdriver": {"redisadapter", "internal/redisproto"},
	"redisadapter/goredisdriver": {"redisadapter", "internal/redisproto"},
	"emitter":                    {"adapter", "parser", "redisadapter", "internal/event", "internal/rediswire"},
	"client":                     {"engineio", "parser", "internal/event", "internal/ring"},
	"admin":                      {"", "engineio", "parser"},
	"presence":                   {"", "redisadapter"},
	"relay":                      {"", "adapter", "parser", "presence", "relay/identity", "relay/rest"},
	"relay/identity":             {""},
	"relay/rest":                 {"", "adapter", "parser", "presence", "relay/identity"},
	"cmd/sockeye":                {"relay", "relay/identity", "relay/rest", "", "adapter", "admin", "client", "emitter", "engineio", "httpsession", "metrics", "parser", "parser/msgpack", "presence", "redisadapter", "redisadapter/rueidisdriver", "internal/eio", "internal/load", "internal/mpack", "internal/rediswire", "internal/front", "internal/settings", "httpsession/express"},
	"internal/front":             {},
	"internal/settings":          {},
	"httpsession":                {"", "redisadapter"},
	"httpsession/express":        {"httpsession"},
	"httpsession/scssession":     {"httpsession"},
	"metrics":                    {"", "adapter", "engineio", "redisadapter"},
	"oteltrace":                  {""},
	"interop":                    {},
	"interop/faults":             {},
	"interop/protocolserver":     {"", "engineio"},
	"bench/...":                  {"", "client", "engineio", "adapter", "parser", "redisadapter", "redisadapter/rueidisdriver"},
	"examples/...":               {"", "admin", "client", "presence", "engineio", "adapter", "emitter", "httpsession", "httpsession/scssession", "parser", "redisadapter", "redisadapter/rueidisdriver"},
	"deploy":                     {},
	"internal/eio":               {},
	"internal/event":             {"parser"},
	"internal/harness":           {"client", "internal/testkit"},
	"internal/js":                {"internal/jsonscan"},
	"internal/jsonscan":          {},
	"internal/load":              {"engineio", "parser", "parser/msgpack"},
	"internal/mpack":             {"internal/js"},
	"internal/netpoll":           {},
	"internal/redisproto":        {},
	"internal/rediswire":         {"adapter", "internal/js", "internal/jsonscan", "internal/mpack", "parser"},
	"internal/ring":              {},
	"internal/testkit":           {},
	"internal/ws":                {},
}

// heavy are modules that a program must not compile because it imports the server.
var heavy = []string{
	"github.com/redis/", "github.com/prometheus/", "go.opentelemetry.io/", "github.com/spf13/", module + "/redisadapter",
	module + "/relay", module + "/cmd", "testing",
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports_Direction(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		name := relative(p.ImportPath)
		row, ok := imports[name]
		if !ok {
			top, _, _ := strings.Cut(name, "/")
			row, ok = imports[top+"/..."]
		}
		if !ok {
			t.Errorf("package %s has no row in the table of imports", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if i != module && !strings.HasPrefix(i, module+"/") {
				continue
			}
			if !slices.Contains(row, relative(i)) {
				t.Errorf("package %q must not import %q", name, relative(i))
			}
		}
	}
}

func TestImports_ServerIsLight(t *testing.T) {
	t.Parallel()
	for _, d := range list(t, ".")[0].Deps {
		for _, h := range heavy {
			if d == h || h != "testing" && strings.HasPrefix(d, h) {
				t.Errorf("importing the server compiles %s", d)
			}
		}
	}
}

// guessable are the packages that may import math/rand, for the jitter of their retries. Ids and keys are made of
// crypto/rand everywhere. T4, CVE-2017-16031.
var guessable = []string{"client", "redisadapter", "redisadapter/rueidisdriver", "redisadapter/goredisdriver"}

func TestImports_IDsCannotBeGuessed(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		name := relative(p.ImportPath)
		if strings.HasPrefix(name, "bench/") || slices.Contains(guessable, name) {
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "math/rand") {
				t.Errorf("package %q imports %s", name, i)
			}
		}
	}
}

// relative is a package's path inside the module; "" is the server.
func relative(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}
