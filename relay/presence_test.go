package relay

import (
	"fmt"
	"testing"
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
