package sockeye_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// heap is the memory in use, without garbage.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools let go the first time
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// T11: a connection that joins and leaves 20,000 namespaces leaves nothing behind. It measures memory, so that it
// does not run beside others.
func TestThreats_NamespaceFlood(t *testing.T) {
	const each, rounds = 50, 400
	b := setup(t, sockeye.Config{RemoveEmpty: true})
	b.OfFunc(func(context.Context, string, parserArg) error { return nil })
	p := b.dial()
	round := func(i int) {
		var wait []string
		for j := range each {
			name := fmt.Sprintf("/flood-%d-%d,", i, j)
			wait = append(wait, name)
			p.send("0" + name)
		}
		for range each {
			if got := p.next(); !strings.HasPrefix(got, "0/flood-") {
				t.Fatalf("received %q", got)
			}
		}
		for _, name := range wait {
			p.send("1" + name)
		}
		// Sockets that have not ended count for the limit of namespaces.
		testkit.Eventually(t, "the namespaces are gone", func() bool { return namespaces(b) == 1 })
	}
	round(0)
	before := heap()
	for i := range rounds {
		round(i)
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("%d kB are left of %d namespaces", grown>>10, each*rounds)
	}
	if errs := b.faults.all(); len(errs) > 0 {
		t.Error(errs)
	}
}

func namespaces(b *bundle) (n int) {
	for range b.Namespaces() {
		n++
	}
	return n
}

// T11: beyond the limit there are no more, and those who come for others are served.
func TestThreats_NamespacesAreCapped(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Dynamic: 150}})
	b.OfFunc(func(context.Context, string, parserArg) error { return nil })
	refused := 0
	for c := range 3 {
		p := b.dial()
		for i := range 90 {
			p.send(fmt.Sprintf("0/n-%d-%d,", c, i))
			if strings.HasPrefix(p.next(), "4/n-") {
				refused++
			}
		}
		p.join("/", "")
	}
	if n := namespaces(b); n != 150 || refused != 3*90-149 {
		t.Errorf("%d namespaces, %d refused", n, refused)
	}
}

// T16: clients that never read are closed when their queues are full; the others get everything.
func TestThreats_SlowReaders(t *testing.T) {
	t.Parallel()
	const slow, pollers = 5, 200
	b := setup(t)
	reasons := make(chan sockeye.Reason, slow+pollers+1)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
	})
	healthy, _ := b.connect()
	for range slow {
		rawWebSocket(t, b).write(t, "40")
	}
	for range pollers {
		b.park()
	}
	testkit.Eventually(t, "all are connected", func() bool { return connected(b.Of("/")) == 1+slow+pollers })
	payload := make([]byte, 256<<10)
	for i := 0; b.Conns() > 1; i++ {
		if i == 200 {
			t.Fatalf("%d connections take everything", b.Conns())
		}
		if err := b.Emit("news", i, payload); err != nil {
			t.Fatal(err)
		}
		healthy.want(fmt.Sprintf(`51-["news",%d,{"_placeholder":true,"num":0}]`, i))
		if m := healthy.receive(); len(m.binary) != len(payload) {
			t.Fatalf("received %d bytes", len(m.binary))
		}
		for s := range b.Of("/").Sockets() {
			if n := s.Buffered(); n > 1_000_000 {
				t.Fatalf("%d bytes wait for one client", n)
			}
		}
	}
	for range slow + pollers {
		if r := get(t, "reason", reasons); r != sockeye.ReasonTransportError {
			t.Errorf("reason %q", r)
		}
	}
}
