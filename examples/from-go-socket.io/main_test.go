package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// The clients of the old server, and those of today.
func TestFromGoSocketIO(t *testing.T) {
	t.Parallel()
	modules, err := filepath.Abs("../../interop/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "socket.io-client")); err != nil {
		testkit.Need(t, "the npm packages of interop/node")
	}
	server := harness.Start(t, harness.Build(t, "."), "-addr", "127.0.0.1:0")
	for _, name := range []string{"socket.io-client-v2", "socket.io-client"} {
		cmd := exec.CommandContext(t.Context(), "node", "client.cjs", name, server.URL)
		cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != "joined lobby\nsaid hello\ncount 1\n" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	testkit.Eventually(t, "both have come and gone", func() bool {
		out := strings.Join(server.Output(), "\n")
		return strings.Count(out, " connected: ") == 2 && strings.Count(out, "gone: ") == 2
	})
}
