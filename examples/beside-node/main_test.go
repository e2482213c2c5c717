package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// node starts server.cjs with the packages that the interop tests have, which are the ones of package.json.
func node(t *testing.T, redis, mode string) *harness.Program {
	t.Helper()
	modules, err := filepath.Abs("../../interop/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "socket.io")); err != nil {
		testkit.Need(t, "the npm packages of interop/node")
	}
	cmd := exec.Command("node", "server.cjs", mode)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "REDIS="+redis, "PORT=0")
	return harness.StartCmd(t, cmd)
}

// What one server does reaches the clients of the other, in each direction and in each format.
func TestBesideNode(t *testing.T) {
	t.Parallel()
	bin := harness.Build(t, ".")
	for _, mode := range []string{"classic", "sharded", "streams"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t).URL()
			servers := []*harness.Program{
				harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", redis, "-mode", mode), node(t, redis, mode),
			}
			var clients []*harness.Client
			for i, s := range servers {
				c := harness.Connect(t, s.URL)
				c.On("question", client.Func(func() string { return fmt.Sprint("answer ", i) }))
				clients = append(clients, c)
			}
			for i, c := range clients {
				if by := call[string](t, c, "join", "room"); by != []string{"go", "node"}[i] {
					t.Fatalf("joined at %s", by)
				}
			}
			for i, c := range clients {
				testkit.Eventually(t, "each server counts both", func() bool { return call[int](t, c, "who", "room") == 2 })
				if err := c.Emit("say", "room", "hello"); err != nil {
					t.Fatal(err)
				}
				for _, each := range clients {
					each.Want("said", fmt.Sprintf(`[{"by":%q,"text":"hello"}]`, []string{"go", "node"}[i]))
				}
				if got := call[[]string](t, c, "ask", "room"); fmt.Sprint(got) != "[answer 0 answer 1]" {
					t.Errorf("asked by %d: %q", i, got)
				}
				for _, each := range clients {
					each.Want("question", "[]")
				}
			}
		})
	}
}

func call[Res any](t *testing.T, c *harness.Client, event, room string) Res {
	t.Helper()
	res, err := client.Call[string, Res](event).Do(t.Context(), c.Socket, room)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
