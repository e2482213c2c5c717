package sockeye_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
)

// No log line has what lets somebody take over a session, and what clients send makes no further lines.
func TestLogs(t *testing.T) {
	t.Parallel()
	lines := &logs{}
	b := setup(t, sockeye.Config{Logger: lines.logger(), AllowEIO3: true, Recovery: &sockeye.Recovery{}})
	b.OfFunc(func(context.Context, string, parserArg) error { return nil })
	b.Of("/").UseEvent(func(next sockeye.Handler) sockeye.Handler {
		return handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			return errors.Join(errors.New("not today"), next.ServeEvent(ctx, m))
		})
	})
	echo(b)
	forged := "\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\x1b[31m"
	p := b.dialWith(engineio.DialConfig{Header: map[string][]string{"User-Agent": {"forged"}}}, "?token=SECRET")
	s := p.begin("/", `{"token":"SECRET"}`)
	p.send(`2["echo","SECRET"]`)
	p.event(&s)
	p.send(`2["` + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(forged, `"`, `\"`), "\r\n", `\r\n`), "\x1b", `\u001b`) +
		strings.Repeat("x", 10_000) + `","SECRET"]`)
	p.send(`2["echo"]`)
	p.event(&s)
	p.begin("/x"+strings.Repeat("y", 200), "")
	p.send("7SECRET")
	p.ended()
	v3 := b.dialWith(engineio.DialConfig{Protocol: 3}, "")
	v3.want("0")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	v3.ended()
	text := lines.String()
	for what, secret := range map[string]string{
		"the engine's session id": p.conn.ID(), "the session id of a 2.x client": v3.conn.ID(),
		"the recovery secret": s.PID, "payload": "SECRET", "an escape": "\x1b",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is logged:\n%s", what, text)
		}
	}
	if !strings.Contains(text, s.SID) || !strings.Contains(text, "not today") {
		t.Errorf("nothing useful is logged:\n%s", text)
	}
	for line := range strings.Lines(text) {
		var v map[string]any
		decode(t, line, &v)
		if v["msg"] == "forged" || len(line) > 4000 && v["stack"] == nil {
			t.Errorf("logged %q", line)
		}
	}
}
