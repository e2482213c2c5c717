package sockeye_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// pages are the documents of the project.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(b)
		}
	}
	for _, name := range []string{
		"README.md", "DESIGN.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
		"docs/compat.md", "docs/invariants.md", "docs/gotchas.md",
	} {
		if all[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	return all
}

// The program in the README is the one in examples/hello, which has a test of its own.
func TestDocs_ReadmeProgram(t *testing.T) {
	t.Parallel()
	_, rest, found := strings.Cut(pages(t)["README.md"], "```go\n")
	program, _, closed := strings.Cut(rest, "```")
	source, err := os.ReadFile("examples/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	// The comment on the package is for the documentation of the example.
	_, source2, _ := strings.Cut(string(source), "\n")
	if !found || !closed || program != source2 {
		t.Errorf("README.md has\n%s\nexamples/hello/main.go has\n%s", program, source2)
	}
}

// testName is how the documents name tests: the package's directory ("sockeye" for the root), a dot, the function.
var testName = regexp.MustCompile("`([a-z][a-z/0-9]*)\\.((?:Test|Fuzz|Example|Benchmark)[A-Za-z0-9_]*)`")

// tests are the functions of the tests of a directory.
func tests(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example|Benchmark)\w*)\(`)
	var names []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range function.FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// Each test that a document names exists.
func TestDocs_NamedTestsExist(t *testing.T) {
	t.Parallel()
	known := map[string][]string{}
	named := 0
	for page, text := range pages(t) {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			named++
			dir := m[1]
			if dir == "sockeye" {
				dir = "."
			}
			if known[dir] == nil {
				known[dir] = tests(t, dir)
			}
			if !slices.Contains(known[dir], m[2]) {
				t.Errorf("%s: there is no %s in %s", page, m[2], dir)
			}
		}
	}
	if named < 200 {
		t.Errorf("only %d tests are named: is the pattern right?", named)
	}
}

// Each row of a table of features or rules names a test, or says that there is nothing to test.
func TestDocs_RowsHaveTests(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for page, heading := range map[string]string{"docs/compat.md": "Official server", "docs/invariants.md": "What holds"} {
		rows, table := 0, false
		for line := range strings.Lines(all[page]) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			switch {
			case !strings.HasPrefix(line, "|"):
				table = false
			case strings.TrimSpace(cells[0]) == heading:
				table = true
			case !table, strings.HasPrefix(line, "|-"), strings.HasPrefix(line, "| -"):
			default:
				rows++
				if last := strings.TrimSpace(cells[len(cells)-1]); last != "-" && !testName.MatchString(last) {
					t.Errorf("%s: a row without a test: %s", page, line)
				}
			}
		}
		if rows < 10 {
			t.Errorf("%s: only %d rows", page, rows)
		}
	}
}

// types are those whose methods and fields the documents name, as in `Socket.Emit` or `Config.AllowEIO3`.
var types = map[string]reflect.Type{
	"Server": reflect.TypeFor[*sockeye.Server](), "Namespace": reflect.TypeFor[*sockeye.Namespace](),
	"Parent": reflect.TypeFor[*sockeye.Parent](), "Socket": reflect.TypeFor[*sockeye.Socket](),
	"Sender": reflect.TypeFor[sockeye.Sender](), "Broadcast": reflect.TypeFor[sockeye.Broadcast](),
	"RemoteSocket": reflect.TypeFor[*sockeye.RemoteSocket](), "Message": reflect.TypeFor[*sockeye.Message](),
	"Reply": reflect.TypeFor[sockeye.Reply](), "Handshake": reflect.TypeFor[sockeye.Handshake](),
	"AckError": reflect.TypeFor[*sockeye.AckError](), "Config": reflect.TypeFor[sockeye.Config](),
	"Limits": reflect.TypeFor[sockeye.Limits](), "SendQueue": reflect.TypeFor[sockeye.SendQueue](),
	"Recovery": reflect.TypeFor[sockeye.Recovery](), "Hooks": reflect.TypeFor[sockeye.Hooks](),
	"Observer": reflect.TypeFor[sockeye.Observer](), "Rate": reflect.TypeFor[sockeye.Rate](),
	"Admission":    reflect.TypeFor[sockeye.Admission](),
	"OriginPolicy": reflect.TypeFor[sockeye.OriginPolicy](), "CORS": reflect.TypeFor[sockeye.CORS](),
	"PubSubOptions": reflect.TypeFor[redisadapter.PubSubOptions](), "Stats": reflect.TypeFor[redisadapter.Stats](),
	"ShardedOptions": reflect.TypeFor[redisadapter.ShardedOptions](),
	"StreamsOptions": reflect.TypeFor[redisadapter.StreamsOptions](), "Conn": reflect.TypeFor[*engineio.Conn](),
}

func has(typ reflect.Type, name string) bool {
	if _, ok := typ.MethodByName(name); ok {
		return true
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	_, ok := typ.FieldByName(name)
	return ok
}

// Each method and field that a document names exists.
func TestDocs_NamedSymbolsExist(t *testing.T) {
	t.Parallel()
	symbol := regexp.MustCompile("`([A-Z]\\w*)\\.([A-Z]\\w*)(?:\\(\\))?`")
	for page, text := range pages(t) {
		for _, m := range symbol.FindAllStringSubmatch(text, -1) {
			if typ := types[m[1]]; typ == nil || !has(typ, m[2]) {
				t.Errorf("%s: there is no %s.%s", page, m[1], m[2])
			}
		}
	}
}

// Each relative link leads somewhere.
func TestDocs_LinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// The map in DESIGN.md has each package.
func TestDocs_DesignHasEachPackage(t *testing.T) {
	t.Parallel()
	design := pages(t)["DESIGN.md"]
	for name := range imports {
		if name == "" {
			name = "sockeye"
		}
		if !strings.Contains(design, "`"+strings.TrimSuffix(name, "...")+"`") {
			t.Errorf("DESIGN.md does not say what is in %s", name)
		}
	}
}
