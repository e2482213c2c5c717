package redistest

import (
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a#*", "a#", true},
		{"a#*", "a#b#", true},
		{"a#*", "a", false},
		{"a*c", "abbc", true},
		{"a*c", "abb", false},
		{"a?", "ab", true},
		{"a?", "a", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{`a\\*`, `a\b`, true},
		{`\`, `\`, true},
		{"", "", true},
		{"", "a", false},
	} {
		if got := match(c.pattern, c.s); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}
