package main

import (
	"testing"

	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestHello(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	bin := harness.Build(t, ".", harness.Replacement{Old: "127.0.0.1:3000", New: addr})
	server := harness.StartAt(t, bin, addr)
	ann, bob := harness.Connect(t, server.URL), harness.Connect(t, server.URL)
	if err := ann.Emit("chat", "hello"); err != nil {
		t.Fatal(err)
	}
	bob.Want("chat", `["hello"]`)
	ann.Quiet()
}
