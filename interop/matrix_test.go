package interop

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// results has what worked: by operation, kind and who began.
type results struct {
	mu    sync.Mutex
	cells map[[3]string]bool

	kinds   int  // that came to their end
	partial bool // -run has left out cells
}

func (r *results) add(operation, kind, from string, ran, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ran {
		r.partial = true
		return
	}
	if strings.HasPrefix(from, "go") {
		from = "go" // either of our servers, or our emitter
	}
	key := [3]string{operation, kind, from}
	if was, there := r.cells[key]; there && !was {
		ok = false
	}
	r.cells[key] = ok
}

// TestMatrix runs each operation from each server of a cluster of Node and Go, with each kind of adapter, and compares
// what worked with the table in docs/compat-redis.md. UPDATE_DOCS=1 writes that.
func TestMatrix(t *testing.T) {
	t.Parallel()
	r := &results{cells: make(map[[3]string]bool)}
	t.Run("kinds", func(t *testing.T) {
		for _, k := range kinds {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				r.run(t, k)
			})
		}
	})
	// What this machine lacks, or -run leaves out, makes the table a part of it.
	if r.kinds == len(kinds) && !r.partial && !allNode() {
		checkTable(t, r)
	} else if os.Getenv("UPDATE_DOCS") != "" {
		t.Error("the table needs all kinds and operations, and our servers")
	}
}

// run does what there is of a kind.
func (r *results) run(t *testing.T, k kind) {
	t.Helper()
	c := startCluster(t, clusterOptions{kind: k})
	for _, o := range operations {
		if !o.asks || !k.mute {
			r.check(t, c, o, c.order...)
		}
	}
	if k.emitter != "" {
		startEmitter(t, c)
		for _, o := range emitterOperations {
			r.check(t, c, o, "emitter")
		}
	}
	if goEmitters[k.name] != nil {
		startGoEmitter(t, c)
		for _, o := range slices.Concat(emitterOperations, goEmitterOperations) {
			if !o.asks || !k.mute {
				r.check(t, c, o, "goemitter")
			}
		}
	}
	if k.stream {
		c = startRecovery(t, k)
		for _, o := range recoveryOperations {
			r.check(t, c, o, c.order...)
		}
	}
	r.mu.Lock()
	r.kinds++
	r.mu.Unlock()
}

func (r *results) check(t *testing.T, c *cluster, o operation, from ...string) {
	t.Helper()
	for _, f := range from {
		if o.ours && (f == "node" || allNode()) {
			continue
		}
		ran := false
		ok := t.Run(o.name+" from "+f, func(t *testing.T) {
			ran = true
			c.use(t)
			c.forget()
			o.check(c, f)
		})
		c.use(t)
		r.add(o.name, c.kind.name, f, ran, ok)
	}
}
