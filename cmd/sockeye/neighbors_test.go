package main

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// The servers of a tried cluster tell the page what they are called, and where the others are.
func TestServe_TryClusterNeighbors(t *testing.T) {
	t.Parallel()
	urls, _, stop := trying(t, 2, "--addr", "127.0.0.1:0")
	for i, url := range urls {
		own, other := "server 1 of 2", "server 2 of 2"
		if i == 1 {
			own, other = other, own
		}
		c := join(t, url)
		var got string
		testkit.Eventually(t, "both are there", func() bool {
			c.send(`2["sockeye:server"]`)
			for got = ""; !strings.HasPrefix(got, `2["sockeye:server"`); {
				got = c.next()
			}
			return !strings.Contains(got, `"servers":[]`)
		})
		for _, part := range []string{`"name":"` + own + `"`, `"servers":[{"name":"` + other + `","url":"` + urls[1-i] + `/"}]`, `"cluster":true,"recovery":true`} {
			if !strings.Contains(got, part) {
				t.Errorf("%s lacks %s", got, part)
			}
		}
	}
	if code := stop(); code != exitOK {
		t.Errorf("ended with %d", code)
	}
}
