package parser

import (
	"errors"
	"strings"
	"testing"
)

// Each argument takes more memory than the two bytes that it can be sent as.
func TestDecoder_BoundsArguments(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args, limit int
		ok          bool
	}{
		"default, at the bound": {DefaultArgs - 1, 0, true},
		"default, above":        {DefaultArgs, 0, false},
		"a body full":           {400_000, 0, false},
		"own bound":             {3, 4, true},
		"above it":              {4, 4, false},
		"none":                  {5 * DefaultArgs, -1, true},
	} {
		for kind, head := range map[string]string{"event": `2["a"`, "acknowledgement": `31[0`} {
			var p Packet
			done, err := JSON().NewDecoder(Limits{Args: c.limit}, 5).Add(&p, []byte(head+strings.Repeat(",1", c.args)+"]"), false)
			if done != c.ok || !c.ok && !errors.Is(err, ErrInvalid) {
				t.Errorf("%s, %s: %v, %v", name, kind, done, err)
			}
		}
	}
}
