package redisadapter_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// mutations is how many mutated messages a test sends: SOCKEYE_MUTATIONS, or few enough for every run.
func mutations(t *testing.T) int {
	t.Helper()
	s := os.Getenv("SOCKEYE_MUTATIONS")
	if s == "" {
		return 20_000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// T23: mutations of real messages on every channel.
func TestPubSub_Mutated(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := start(t, hub.Driver(), options{})
	channels := []string{"socket.io#/#", "socket.io#/#room1#", "socket.io-request#/#", "socket.io-response#/#"}
	corpus := capturedMessages(t, "PUBLISH", "classic-8.3.0.json", "classic-7.2.0.json", "classic-5.4.0.json")
	m := mutants{s: s, channels: channels, corpus: corpus, inject: hub.Inject, good: good}
	m.run(t, hub)
}

func TestSharded_Mutated(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := startSharded(t, hub.Driver(), shardedOptions{})
	s.host.Connect(t, "another-socket-aaaaa", "room1")
	settle(t, s)
	m := mutants{
		s: s, channels: subscribed(hub), corpus: capturedMessages(t, "SPUBLISH", "sharded-dynamic.json"),
		inject: hub.InjectSharded, good: shardedGood,
	}
	m.run(t, hub)
}

// capturedMessages are those of the files that were published by the command.
func capturedMessages(t *testing.T, command string, files ...string) [][]byte {
	t.Helper()
	var all [][]byte
	for _, f := range files {
		for _, v := range vectors(t, f) {
			for _, c := range v.Commands {
				if c.Command == command {
					all = append(all, unhex(t, c.Payload))
				}
			}
		}
	}
	return all
}

// mutants are mutated messages for a server.
type mutants struct {
	s        *server
	channels []string // of the official messages
	corpus   [][]byte
	inject   func(channel string, payload []byte)
	good     []byte
}

// run sends them in rounds, and after each a good message to a new socket, as a mutation may have disconnected the old one.
func (m *mutants) run(t *testing.T, hub *redistest.Hub) {
	t.Helper()
	testkit.Eventually(t, "something is told to our other servers", func() bool { return len(hub.Published()) > 0 })
	var controls [][]byte
	for _, p := range hub.Published() {
		controls = append(controls, p.Payload)
	}
	control := hub.Published()[0].Channel
	rng := rand.New(rand.NewPCG(1, 2))
	const round = 10_000
	total := mutations(t)
	for sent := 0; sent < total; {
		socket := m.s.host.Connect(t, fmt.Sprintf("socket-%013d", sent), "r", "room1")
		for range min(round, total-sent) {
			if sent++; sent%8 == 0 {
				m.inject(control, mutated(rng, controls))
				continue
			}
			m.inject(m.channels[sent%len(m.channels)], mutated(rng, m.corpus))
		}
		m.inject("socket.io#/#", m.good)
		testkit.Eventually(t, "the good message", func() bool {
			_, there := m.s.host.Index().Lookup(socket.ID())
			return socket.Has("good") || !there
		})
		socket.Disconnect()
	}
	if n := m.s.stats().Malformed; n < uint64(total/20) {
		t.Errorf("only %d of %d were malformed", n, total)
	}
	for _, err := range m.s.host.Faults() {
		if strings.Contains(err.Error(), "panic") {
			t.Error(err)
		}
	}
}

// mutated changes one of the messages a little.
func mutated(rng *rand.Rand, corpus [][]byte) []byte {
	b := bytes.Clone(corpus[rng.IntN(len(corpus))])
	for range 1 + rng.IntN(3) {
		switch at := rng.IntN(len(b)); rng.IntN(4) {
		case 0:
			b[at] = byte(rng.UintN(256))
		case 1:
			b = b[:at+1]
		case 2:
			b = slices.Insert(b, at, byte(rng.UintN(256)))
		case 3:
			other := corpus[rng.IntN(len(corpus))]
			b = append(b[:at:at], other[rng.IntN(len(other)):]...)
		}
		if len(b) == 0 {
			b = []byte{0}
		}
	}
	return b
}
