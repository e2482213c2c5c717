package main

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// trying runs "serve --cluster n" and gives the addresses of the servers.
func trying(t *testing.T, n int, args ...string) (urls []string, out *output, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out = new(output)
	addrs, code := make(chan string, n), make(chan int, 1)
	in := invocation{
		args: append([]string{"serve", "--cluster", strconv.Itoa(n)}, args...), env: environment(nil).get, stdout: out, stderr: out,
		listening: func(a string) { addrs <- a }, drain: 100 * time.Millisecond,
	}
	go func() { code <- run(ctx, in) }() // ends when ctx does; stop waits for it
	ended := false
	stop = func() int {
		cancel()
		ended = true
		return <-code
	}
	t.Cleanup(func() {
		if !ended {
			stop()
		}
	})
	for range n {
		select {
		case a := <-addrs:
			urls = append(urls, "http://"+a)
		case c := <-code:
			ended = true
			t.Fatalf("ended with %d\n%s", c, out)
		}
	}
	return urls, out, stop
}

// TestServe_TryCluster: in both modes that the Redis of this process knows, three servers are one.
func TestServe_TryCluster(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modePubSub, modeStreams, ""} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			args := []string{"--addr", "127.0.0.1:0"}
			if mode != "" {
				args = append(args, "--redis-mode", mode)
			}
			urls, out, stop := trying(t, 3, args...)
			if !strings.Contains(out.String(), "for trying only") || strings.Count(out.String(), "Sockeye listens on http://127.0.0.1:") != 3 {
				t.Errorf("says %s", out)
			}
			var all []*chatter
			for _, url := range urls {
				c := join(t, url)
				c.send(`21["join","room"]`)
				c.want(`31[{"ok":true}]`)
				all = append(all, c)
			}
			testkit.Eventually(t, "all are known", func() bool {
				all[0].send(`22["sockeye:who","room"]`)
				for {
					if rest, ok := strings.CutPrefix(all[0].next(), "32"); ok {
						return strings.Count(rest, `"id"`) == 3
					}
				}
			})
			all[0].send(`2["publish",{"room":"room","event":"news","data":7}]`)
			for _, c := range all[1:] {
				for got := ""; !strings.HasPrefix(got, `2["news",7`); {
					got = c.next()
				}
			}
			if code := stop(); code != exitOK {
				t.Errorf("exit %d: %s", code, out)
			}
		})
	}
}

// The ports are neighbors; when one cannot be had none is kept.
func TestServe_TryClusterPorts(t *testing.T) {
	t.Parallel()
	host, first, err := trialPorts("127.0.0.1:3000", 3)
	if host != "127.0.0.1" || first != 3000 || err != nil {
		t.Errorf("%s %d %v", host, first, err)
	}
	for _, bad := range []string{"127.0.0.1", "127.0.0.1:65534", "127.0.0.1:x"} {
		if _, _, err := trialPorts(bad, 3); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	for addr, want := range map[string]string{
		"127.0.0.1:9090": "127.0.0.1:9092", "127.0.0.1:0": "127.0.0.1:0", "": "", "unix:/x": "unix:/x",
	} {
		if got := neighbor(addr, 2); got != want {
			t.Errorf("%q: %q", addr, got)
		}
	}
	taken := serving(t, nil, "--addr", "127.0.0.1:0")
	code, out, errs := command(t, nil, "serve", "--cluster", "2", "--addr", strings.TrimPrefix(taken.url, "http://"))
	if code != exitError || !strings.Contains(errs, "cannot listen") || strings.Contains(out, "Sockeye listens") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// TestTrialRedis_Age: keys that expire do so.
func TestTrialRedis_Age(t *testing.T) {
	t.Parallel()
	r, err := startMiniredis()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if err := r.mini.Set("key", "value"); err != nil {
		t.Fatal(err)
	}
	r.mini.SetTTL("key", time.Second)
	testkit.Eventually(t, "the key is gone", func() bool { return !r.mini.Exists("key") })
}
