package sockeye_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// T15: those who have joined no namespace keep nobody out for longer than Config.ConnectTimeout, and only each other.
func TestAdmission_Pending(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{AllowEIO3: true, Admission: sockeye.Admission{Pending: 3}})
	b.Use(func(_ context.Context, s *sockeye.Socket) error {
		if s.Handshake().Auth.IsZero() {
			return nil
		}
		return errors.New("no")
	})
	echo(b)
	handshake := func() int {
		r, err := http.Get(b.url + "?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close() // nothing is read
		return r.StatusCode
	}
	first, _ := b.connect()
	old := b.dialWith(engineio.DialConfig{Protocol: 3}, "") // it joins by itself
	if got := old.next(); got != "0" {
		t.Fatalf("received %q", got)
	}
	a, c, refused := b.dial(), b.dial(), b.dial()
	refused.send(`0{"token":"bad"}`)
	if got := refused.next(); got != `4{"message":"no"}` {
		t.Fatalf("received %q", got)
	}
	if status := handshake(); status != http.StatusServiceUnavailable {
		t.Errorf("a fourth: %d", status)
	}
	first.quiet()
	a.join("/", "")
	if status := handshake(); status != http.StatusOK {
		t.Errorf("when one has joined: %d", status)
	}
	if status := handshake(); status != http.StatusServiceUnavailable {
		t.Errorf("a fourth again: %d", status)
	}
	_ = c.conn.Close() // always nil
	testkit.Eventually(t, "there is room", func() bool { return handshake() == http.StatusOK })
}
