package rueidisdriver

import (
	"net"
	"strings"
	"testing"
)

func FuzzFromURL(f *testing.F) {
	for _, s := range []string{
		"redis://u:p@h:1/2?protocol=2", "rediss+cluster://u:p@h1:1,h2,[::1]:3/0", "valkey+sentinel://:p%40@h1,h2/m/4?db=1",
		"unix:///tmp/redis.sock?db=1", "redis+sentinel://h/m?sentinel_user=a&sentinel_password=b&dial_timeout=1s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, kind, err := parse(s)
		if err != nil {
			return
		}
		if len(o.InitAddress) == 0 {
			t.Error("no address")
		}
		for _, addr := range o.InitAddress {
			if _, _, err := net.SplitHostPort(addr); err != nil && kind != kindSingle {
				t.Errorf("%q: %v", addr, err)
			}
		}
		if (o.Sentinel.MasterSet != "") != (kind == kindSentinel) && kind != kindSingle {
			t.Errorf("master %q", o.Sentinel.MasterSet)
		}
	})
}

func FuzzAbsolute(f *testing.F) {
	for _, s := range []string{"h:1", ":6379", "::1:6379", "[::1]:6379", "?:1", "h:0", "h:65536", "h", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		addr := absolute(s, "asked:1")
		if addr == "" {
			return
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" || !strings.HasSuffix(s, port) {
			t.Errorf("%q: %q", s, addr)
		}
	})
}
