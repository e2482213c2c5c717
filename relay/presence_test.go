package relay

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/engineio"
)

func TestServer_WhoIsHere(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, ida := connect(t, url)
	b, idb := connect(t, url)
	plain, _ := connect(t, url) // takes no part
	a.want(`["sockeye:profile",{"name":"Ann"}]`, ok)
	a.want(`["join","r"]`, ok)
	a.want(`["sockeye:who","r"]`, fmt.Sprintf(`[{"ok":true,"people":[{"id":%q,"name":"Ann"}]}]`, ida))

	b.want(`["sockeye:profile",{"name":"Bob"}]`, ok)
	b.want(`["join","r"]`, ok)
	plain.want(`["join","r"]`, ok)
	here := fmt.Sprintf(`["sockeye:here",{"room":"r","id":%q,"name":"Bob"}]`, idb)
	same(t, "joined", a.wait("2"), here)
	b.want(`["sockeye:profile",{"name":"Robert"}]`, ok)
	same(t, "renamed", a.wait("2"), fmt.Sprintf(`["sockeye:here",{"room":"r","id":%q,"name":"Robert"}]`, idb))
	gone := fmt.Sprintf(`["sockeye:gone",{"room":"r","id":%q,"name":"Robert"}]`, idb)
	b.want(`["leave","r"]`, ok)
	same(t, "left", a.wait("2"), gone)
	b.want(`["join","r"]`, ok)
	a.wait("2")
	if err := b.conn.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, "went away", a.wait("2"), gone)

	a.want(`["leave","r"]`, ok)
	a.nothing()
	plain.nothing()
}

// The session id of a 2.x client is its socket id, and nobody else's business.
func TestServer_WhoIsHereKeepsSessionIDs(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, _ := connect(t, url)
	a.want(`["join","r"]`, ok)
	a.call(`["sockeye:who","r"]`)
	old := &peer{t: t}
	conn, err := engineio.Dial(t.Context(), url+"/socket.io/", engineio.DialConfig{Protocol: 3}, old)
	if err != nil {
		t.Fatal(err)
	}
	old.conn = conn
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	old.wait("0")
	old.want(`["sockeye:profile",{"name":"Eve"}]`, ok)
	old.want(`["join","r"]`, ok)
	here, who := a.wait("2"), a.call(`["sockeye:who","r"]`)
	var event [2]any
	var acks [1]whoAck
	if err := json.Unmarshal([]byte(here), &event); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(who), &acks); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(here+who, conn.ID()) {
		t.Errorf("%s and %s tell the session id", here, who)
	}
	// It is the same one in both.
	told, _ := event[1].(map[string]any)
	same := 0
	for _, p := range acks[0].People {
		if p.Name == "Eve" && p.ID == told["id"] && len(p.ID) == 20 {
			same++
		}
	}
	if same != 1 {
		t.Errorf("%s and %s", here, who)
	}
}
