package redisproto

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestSlot(t *testing.T) {
	t.Parallel()
	// Protocol: the first is the example of the specification, the others are answers of CLUSTER KEYSLOT.
	for key, want := range map[string]int{
		"123456789": 0x31c3 % Slots, "": 0, "foo": 12182, "{foo}": 12182, "a{foo}b{bar}": 12182, "foo{}{bar}": 8363,
	} {
		if got := Slot(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}

func TestSlot_Redis(t *testing.T) {
	t.Parallel()
	_, port, _ := strings.Cut(testkit.FreeAddr(t), ":")
	c := testkit.StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", port)
	for _, key := range []string{"", "a", "123456789", "{user}.1", "a{}b", "{{b}}", "a{b", "}{", "\x00\xff#*", strings.Repeat("x", 999)} {
		if want := c.Do("CLUSTER", "KEYSLOT", key); want != int64(Slot(key)) {
			t.Errorf("%q: %d, want %d", key, Slot(key), want)
		}
	}
}
