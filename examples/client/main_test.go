package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	testkit.Main(m)
}

// screen is where a person reads.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestChat(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(stop)
	all.Go(func() {
		if err := serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	var refused *client.ConnectError
	if err := chat(ctx, url, "", strings.NewReader(""), io.Discard); !errors.As(err, &refused) || refused.Message != "who are you?" {
		t.Errorf("without a name: %v", err)
	}
	var alice, bob screen
	aliceTypes, alicesKeys := io.Pipe()
	bobTypes, bobsKeys := io.Pipe()
	all.Go(func() {
		if err := chat(ctx, url, "alice", aliceTypes, &alice); err != nil {
			t.Error(err)
		}
	})
	// Whether she is in already is seen by what somebody hears whom she sees coming.
	all.Go(func() {
		if err := chat(ctx, url, "bob", bobTypes, &bob); err != nil {
			t.Error(err)
		}
	})
	testkit.Eventually(t, "the one sees the other", func() bool {
		return strings.Contains(alice.String(), "* bob is here\n") || strings.Contains(bob.String(), "* alice is here\n")
	})
	if _, err := io.WriteString(alicesKeys, "hello bob\n"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "bob hears her", func() bool { return strings.Contains(bob.String(), "alice: hello bob\n") })
	if _, err := io.WriteString(bobsKeys, "hello alice\n"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "alice hears him", func() bool { return strings.Contains(alice.String(), "bob: hello alice\n") })
	if strings.Contains(alice.String(), "alice: ") {
		t.Errorf("alice hears herself: %q", alice.String())
	}
	_, _ = alicesKeys.Close(), bobsKeys.Close() // they always succeed
}

func TestRun_Usage(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "usage") {
		t.Errorf("got %v", err)
	}
}
