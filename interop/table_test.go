package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const tableFile = "../docs/compat-redis.md"

// checkTable compares the results with the document, or writes it.
func checkTable(t *testing.T, r *results) {
	t.Helper()
	got := table(t, r)
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(tableFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what this run gives (UPDATE_DOCS=1 go test ./interop -run TestMatrix writes it):\n%s", tableFile, got)
	}
}

// table renders the results.
func table(t *testing.T, r *results) []byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	b.WriteString(`# Go and Node on one Redis

Written by ` + "`UPDATE_DOCS=1 go test ./interop -run TestMatrix`" + `; without the variable that test fails where a run
gives something else. One official Node server and two of ours share a Redis, with clients of 4.x on each (and of
2.x in the row that says so). Each server begins each operation; it works if all clients and servers on all three
see exactly what they are to see. A cell says who began: "Node" is the official package, "Go" both of our servers.

Packages:

`)
	for _, name := range []string{"socket.io", "socket.io-client", "socket.io-client-v2", "redis", "@socket.io/redis-emitter"} {
		fmt.Fprintf(&b, "- %s\n", version(t, name))
	}
	for _, k := range kinds {
		fmt.Fprintf(&b, "- %s: %s", k.name, version(t, k.pkg))
		if k.options != nil {
			options, err := json.Marshal(k.options)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " with `%s`", options)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| Operation |")
	for _, k := range kinds {
		fmt.Fprintf(&b, " %s |", k.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, o := range slices.Concat(operations, emitterOperations, goEmitterOperations, recoveryOperations) {
		fmt.Fprintf(&b, "| %s |", o.name)
		for _, k := range kinds {
			fmt.Fprintf(&b, " %s |", r.cell(o.name, k.name))
		}
		b.WriteString("\n")
	}
	b.WriteString(notes)
	return b.Bytes()
}

const notes = `
The official emitter for streams is not on npm: in its rows a script writes the entries that its version 0.1.1 writes.

A dash is what the official packages cannot do among themselves either:

- Recovery while others send: a Node server sends its own events to its clients earlier or later than the stream has
  them, so that the last one that a client has got does not tell which it has missed.
- There is no official emitter for the sharded adapter, and the official ones ask nothing.
- Questions of streams 0.2 travel in the stream and those of 0.3 over pub/sub: servers of the two neither hear nor
  count each other.
`

// cell says from whom an operation worked.
func (r *results) cell(operation, kind string) string {
	var parts []string
	for _, from := range []struct{ key, name string }{{"node", "Node"}, {"emitter", "Node"}, {"go", "Go"}} {
		switch ok, there := r.cells[[3]string{operation, kind, from.key}]; {
		case ok:
			parts = append(parts, from.name)
		case there:
			parts = append(parts, "not "+from.name)
		}
	}
	if parts == nil {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// version is the name and version of an installed package.
func version(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("node", "node_modules", name, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Name, Version string }
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	return "`" + p.Name + "` " + p.Version
}
