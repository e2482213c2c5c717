package metrics_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/metrics"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

const dashboardFile = "../deploy/grafana/sockeye.json"

// dashboard is as much of a dashboard of Grafana as can be checked here.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name       string
			Definition string
		}
	}
	Panels []struct {
		ID          int
		Type, Title string
		Description string
		GridPos     struct{ H, W, X, Y int }
		Targets     []struct{ Expr, RefID string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries are all that a dashboard asks.
func (d *dashboard) queries() (all []string) {
	for _, v := range d.Templating.List {
		all = append(all, v.Definition)
	}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	return all
}

// Each metric that the dashboard names exists with the labels that it uses, and it has each metric of this package.
func TestDashboard_Metrics(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Adapter: redisadapter.PubSub(redistest.NewHub().Driver(), redisadapter.PubSubOptions{})},
		metrics.Options{Events: []string{"x"}})
	served := map[string]string{} // the labels of a sample, by name
	text := b.scrape()
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		served[m[1]] = m[2]
	}
	d := readDashboard(t)
	name := regexp.MustCompile(`\b(?:sockeye|go|process)_[a-z_]+`)
	by := regexp.MustCompile(`by \(([a-z, ]+)\)`)
	asked := map[string]bool{}
	for _, q := range d.queries() {
		for _, n := range name.FindAllString(q, -1) {
			asked[strings.TrimSuffix(n, "_bucket")] = true
			labels, ok := served[n]
			if !ok {
				t.Errorf("%s: there is no such metric", n)
			}
			for _, m := range by.FindAllStringSubmatch(q, -1) {
				for l := range strings.SplitSeq(m[1], ", ") {
					if l != "instance" && !strings.Contains(","+labels, ","+l+"=") {
						t.Errorf("%s: %q is no label of %s", q, l, n)
					}
				}
			}
		}
	}
	for n := range served {
		n = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(n, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(n, "sockeye_") && !asked[n] {
			t.Errorf("%s is not in the dashboard", n)
		}
	}
	if len(asked) < 40 {
		t.Errorf("only %d metrics: is the pattern right?", len(asked))
	}
}

// Queries select the servers that are chosen, and panels say what they show and do not overlap.
func TestDashboard_Panels(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 || len(d.Panels) < 20 {
		t.Errorf("%q %q %d, %d panels", d.UID, d.Title, d.SchemaVersion, len(d.Panels))
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	selector := regexp.MustCompile(`(?:sockeye|go|process)_[a-z_]+(\{job=~"\$job",instance=~"\$instance")?`)
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: its id is taken", p.Title)
		}
		ids[p.ID] = true
		g := p.GridPos
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("%s overlaps with %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("%s: no description, or no query", p.Title)
		}
		for _, q := range p.Targets {
			for _, m := range selector.FindAllStringSubmatch(q.Expr, -1) {
				if m[1] == "" {
					t.Errorf("%s: %s is of all servers", p.Title, m[0])
				}
			}
			for _, pair := range []string{"()", "{}", "[]"} {
				if strings.Count(q.Expr, pair[:1]) != strings.Count(q.Expr, pair[1:]) {
					t.Errorf("%s: %s", p.Title, q.Expr)
				}
			}
		}
	}
}

// The table beside the dashboard has each metric with its type, labels and help.
func TestDashboard_Table(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Adapter: redisadapter.PubSub(redistest.NewHub().Driver(), redisadapter.PubSubOptions{})},
		metrics.Options{Events: []string{"x"}})
	text := b.scrape()
	page, err := os.ReadFile("../deploy/grafana/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "|---|---|---|---|\n")
	rows := 0
	for _, m := range regexp.MustCompile(`(?m)^# HELP (sockeye_\S+) (.*)\n# TYPE \S+ (\S+)\n\S+?(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, l := range regexp.MustCompile(`([a-z]+)="`).FindAllStringSubmatch(m[4], -1) {
			if l[1] != "le" {
				labels = append(labels, "`"+l[1]+"`")
			}
		}
		if len(labels) == 0 {
			labels = []string{"-"}
		}
		rows++
		if row := "| `" + m[1] + "` | " + m[3] + " | " + strings.Join(labels, ", ") + " | " + m[2] + " |\n"; !strings.Contains(table, row) {
			t.Errorf("the table needs the row\n%s", row)
		}
	}
	if n := strings.Count(table, "\n"); n != rows || rows < 30 {
		t.Errorf("%d rows for %d metrics", n, rows)
	}
}
