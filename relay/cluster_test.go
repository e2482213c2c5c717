package relay

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// Two servers are one for their clients.
func TestServer_Cluster(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	node := func() string {
		_, url := start(t, Config{Adapter: redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{})})
		return url
	}
	here, there := node(), node()
	a, ida := connect(t, here)
	b, idb := connect(t, there)
	old := &peer{t: t}
	conn, err := engineio.Dial(t.Context(), there+"/socket.io/", engineio.DialConfig{Protocol: 3}, old)
	if err != nil {
		t.Fatal(err)
	}
	old.conn = conn
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	old.wait("0")

	a.want(`["message","hello"]`, ok)
	for _, p := range []*peer{b, old} {
		same(t, "message", p.wait("2"), `["message","hello"]`)
	}
	a.want(`["join","r"]`, ok)
	a.want(`["sockeye:who","r"]`, fmt.Sprintf(`[{"ok":true,"people":[{"id":%q,"name":"guest"}]}]`, ida))
	b.want(`["sockeye:profile",{"name":"Bob"}]`, ok)
	b.want(`["join","r"]`, ok)
	same(t, "here", a.wait("2"), fmt.Sprintf(`["sockeye:here",{"room":"r","id":%q,"name":"Bob"}]`, idb))
	b.want(`["publish",{"room":"r","event":"news","data":[1]}]`, ok)
	same(t, "news", a.wait("2"), `["news",[1]]`)

	// A room of twenty characters is the socket of somebody, wherever that is, or a room like others.
	a.refused(`["join","`+idb+`"]`, "forbidden")
	a.want(`["join","twenty-characters-ok"]`, ok)

	old.want(`["join","r"]`, ok)
	var acks [1]whoAck
	who := a.call(`["sockeye:who","r"]`)
	if err := json.Unmarshal([]byte(who), &acks); err != nil {
		t.Fatal(err)
	}
	if len(acks[0].People) != 3 || strings.Contains(who, conn.ID()) {
		t.Errorf("%s: want three, and not the session id of the 2.x client", who)
	}

	// Alone, it says that it cannot ask; what concerns only its own clients goes on.
	hub.Stop()
	a.refused(`["join","another-20-char-room"]`, "unavailable")
	a.want(`["join","short"]`, ok)
	near, _ := connect(t, here)
	near.want(`["join","short"]`, ok)
	near.want(`["publish",{"room":"short","event":"e"}]`, ok)
	same(t, "alone", a.wait("2"), `["e"]`)
	testkit.Eventually(t, "healthz says so", func() bool {
		_, body := get(t, here+"/healthz", nil)
		return strings.Contains(body, "degraded")
	})
}
