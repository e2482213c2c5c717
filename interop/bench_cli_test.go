package interop

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// TestBenchCommand_NodeServers: load of two processes on official servers, and no event is missing.
func TestBenchCommand_NodeServers(t *testing.T) {
	t.Parallel()
	program := buildServe(t)
	urls := map[int]string{}
	for _, generation := range []int{4, 2} {
		var url string
		startPeer(t, "server-bench.mjs").do("start", obj{"generation": generation}, &url)
		urls[generation] = url
	}
	for name, tt := range map[string]struct {
		generation           int
		args                 []string
		sent, acked, through int
	}{
		"hold":              {4, nil, 0, 0, 0},
		"echo":              {4, []string{"--echo", "--rate", "100"}, 50, 50, 0},
		"echo by polling":   {4, []string{"--echo", "--rate", "100", "--transport", "polling"}, 50, 50, 0},
		"echo upgraded":     {4, []string{"--echo", "--rate", "100", "--transport", "upgrade"}, 50, 50, 0},
		"rooms":             {4, []string{"--fanout", "--rooms", "4", "--rate-each", "10"}, 20, 0, 80},
		"echo of 2.x":       {2, []string{"--echo", "--rate", "100", "--protocol", "2"}, 50, 50, 0},
		"rooms of 2.x":      {2, []string{"--fanout", "--rooms", "4", "--rate-each", "10", "--protocol", "2"}, 20, 0, 80},
		"rooms and polling": {4, []string{"--fanout", "--rooms", "4", "--rate-each", "10", "--transport", "polling"}, 20, 0, 80},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			args := append([]string{"bench", "--json", "--quiet", "--procs", "2", "-c", "20", "-d", "500ms"}, tt.args...)
			cmd := exec.CommandContext(t.Context(), program, append(args, urls[tt.generation])...)
			cmd.Env = os.Environ()
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			var r struct {
				Connections struct{ Opened int }
				Events      struct{ Sent, Acknowledged, Received int }
				Latency     struct {
					Count int
					P99   float64
				} `json:"latency_ms"`
				Generator struct{ Processes int }
			}
			if jerr := json.Unmarshal(out.Bytes(), &r); err != nil || jerr != nil {
				t.Fatalf("%v, %v\n%s%s", err, jerr, out.String(), errs.String())
			}
			e := r.Events
			if r.Connections.Opened != 20 || r.Generator.Processes != 2 || e.Sent != tt.sent || e.Acknowledged != tt.acked || e.Received != tt.through {
				t.Errorf("%s", out.String())
			}
			if want := tt.acked + tt.through; r.Latency.Count != want || (want > 0) != (r.Latency.P99 > 0) {
				t.Errorf("%+v", r.Latency)
			}
		})
	}
}
