package masterreplicas

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const sockeye = "../../cmd/sockeye"

// shell runs the program as a shell does.
func shell(t *testing.T, bin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(20*time.Second))
	defer cancel()
	out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestMasterReplicas(t *testing.T) {
	t.Parallel()
	bin := harness.Build(t, sockeye)
	t.Run("replicas", func(t *testing.T) { t.Parallel(); testReplicas(t, bin) })
	t.Run("sentinel", func(t *testing.T) { t.Parallel(); testSentinel(t, bin) })
}

// Each server subscribes at a replica of its own: what is published to the master reaches the clients of both.
func testReplicas(t *testing.T, bin string) {
	t.Helper()
	master := testkit.StartRedis(t)
	var clients []*harness.Client
	for range 2 {
		replica := testkit.StartReplica(t, master)
		server := harness.Start(t, bin, "serve", "--addr", "127.0.0.1:0", "--redis", master.URL(), "--redis-sub", replica.URL())
		if got, ok := replica.Do("PUBSUB", "NUMPAT").(int64); !ok || got == 0 {
			t.Errorf("nobody has subscribed at the replica: %v", got)
		}
		clients = append(clients, harness.Connect(t, server.URL))
	}
	if got := master.Do("PUBSUB", "NUMPAT"); got != int64(0) {
		t.Errorf("%v have subscribed at the master", got)
	}
	if out, err := shell(t, bin, "emit", "--redis", master.URL(), "news", `{"title":"Hello"}`); err != nil {
		t.Fatal(err, out)
	}
	for _, c := range clients {
		c.Want("news", `[{"title":"Hello"}]`)
	}
	if err := clients[0].Emit("message", "from a client"); err != nil {
		t.Fatal(err)
	}
	clients[1].Want("message", `["from a client"]`)
}

// With Sentinel the master may die: servers and shell find the new one by themselves.
func testSentinel(t *testing.T, bin string) {
	t.Helper()
	master := testkit.StartRedis(t)
	testkit.StartReplica(t, master)
	testkit.StartReplica(t, master)
	sentinels := testkit.StartSentinels(t, master, 3)
	url := "redis+sentinel://" + strings.Join(sentinels.Addrs(), ",") + "/" + sentinels.Name
	var servers []*harness.Program
	var clients []*harness.Client
	for range 2 {
		server := harness.Start(t, bin, "serve", "--addr", "127.0.0.1:0", "--redis", url)
		servers = append(servers, server)
		clients = append(clients, harness.Connect(t, server.URL))
	}
	if out, err := shell(t, bin, "emit", "--redis", url, "news", "1"); err != nil {
		t.Fatal(err, out)
	}
	for _, c := range clients {
		c.Want("news", "[1]")
	}
	ids := fmt.Sprint(clients[0].ID(), clients[1].ID())
	was := sentinels.Master()
	master.Stop()
	testkit.Within(t, testkit.Scale(60*time.Second), "another Redis is the master", func() bool {
		now := sentinels.Master()
		return now != "" && now != was
	})
	// What is sent before all have subscribed at the new master is lost to those that have not: see docs/redis.md.
	heard := [2]bool{}
	testkit.Within(t, testkit.Scale(60*time.Second), "both hear of it again", func() bool {
		if _, err := shell(t, bin, "emit", "--redis", url, "after", "2"); err != nil {
			return false
		}
		for i, c := range clients {
			for c.Heard("after", "") {
				heard[i] = true
			}
		}
		return heard[0] && heard[1]
	})
	if now := fmt.Sprint(clients[0].ID(), clients[1].ID()); now != ids {
		t.Error("clients had to connect again")
	}
	for _, s := range servers {
		if !s.Running() {
			t.Error("a server has ended")
		}
	}
}
