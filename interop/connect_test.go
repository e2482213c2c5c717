package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// journal is what a process prints, while it runs.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// shell runs the command with an input to its end.
func shell(t *testing.T, program, input string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = os.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); !ok || failed.ExitCode() < 0 {
			t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// recordsOf reads what --json prints.
func recordsOf(t *testing.T, out string) (all []obj) {
	t.Helper()
	for line := range strings.Lines(out) {
		var o obj
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, o)
	}
	return all
}

// TestConnectCommand is "sockeye connect" and "sockeye emit --url" with official servers.
func TestConnectCommand(t *testing.T) {
	t.Parallel()
	program := buildServe(t)
	t.Run("talks", func(t *testing.T) { t.Parallel(); talkToServers(t, program) })
	t.Run("the wrong protocol", func(t *testing.T) { t.Parallel(); takeWrongProtocol(t, program) })
	t.Run("recovers", func(t *testing.T) { t.Parallel(); recoverTalk(t, program) })
}

// talkToServers talks by lines.
func talkToServers(t *testing.T, program string) {
	t.Helper()
	for name, tt := range map[string]struct {
		server obj
		args   []string
	}{
		"4.x":              {obj{"generation": 4}, nil},
		"4.x with msgpack": {obj{"generation": 4, "packed": true}, []string{"--parser", "msgpack"}},
		"2.x":              {obj{"generation": 2}, []string{"--protocol", "2"}},
	} {
		_, url := startPlain(t, tt.server)
		for way, flags := range map[string][]string{
			"upgrade": nil, "polling": {"--transport", "polling"}, "websocket": {"--transport", "websocket"},
		} {
			t.Run(name+" by "+way, func(t *testing.T) {
				t.Parallel()
				args := slices.Concat([]string{"connect", "--json", "--ack", "--reply", "40", "-e", "echo", "--all"}, tt.args, flags)
				code, out, errs := shell(t, program, "\"text\" 1.5 {\"deep\":[null]}\nplain text\n/emit \"ask me\"\n", append(args, url+"/chat")...)
				if code != 0 {
					t.Fatalf("exit %d: %s", code, errs)
				}
				got := recordsOf(t, out)
				id := got[0]["id"].(string)
				same(t, "connect", got[0], obj{"type": "connect", "id": id, "namespace": "/chat", "recovered": false})
				slices.SortFunc(got, func(a, b obj) int { return strings.Compare(order(a), order(b)) })
				same(t, "acknowledgements", list{got[0], got[1], got[2]}, list{
					obj{"type": "ack", "sent": 1, "event": "echo", "args": list{"text", 1.5, obj{"deep": list{nil}}}},
					obj{"type": "ack", "sent": 2, "event": "echo", "args": list{"plain text"}},
					obj{"type": "ack", "sent": 3, "event": "ask me", "args": list{40}},
				})
				same(t, "events", list{got[4], got[5]}, list{
					obj{"type": "event", "event": "question", "args": list{20}},
					obj{"type": "event", "event": "welcome", "args": list{obj{"base64": "AQID"}, id}},
				})
			})
		}
		t.Run(name+" once", func(t *testing.T) {
			t.Parallel()
			args := slices.Concat([]string{"emit", "--url", url, "--ack", "--timeout", "1m"}, tt.args, []string{"echo", "1", "two"})
			if code, out, errs := shell(t, program, "", args...); code != 0 || out != "[1,\"two\"]\n" {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
			args = slices.Concat([]string{"connect", "-l"}, tt.args, []string{url + "/closed"})
			if code, _, errs := shell(t, program, "", args...); code != 1 || !strings.Contains(errs, `{"code":7}`) {
				t.Errorf("refused: exit %d: %s", code, errs)
			}
		})
	}
}

// order is what records are sorted by: the type, and what follows it.
func order(o obj) string {
	b, _ := json.Marshal([]any{o["type"], o["sent"], o["event"]}) // of what was JSON
	return string(b)
}

// takeWrongProtocol: the error says what helps.
func takeWrongProtocol(t *testing.T, program string) {
	t.Helper()
	_, two := startPlain(t, obj{"generation": 2})
	_, four := startPlain(t, obj{"generation": 4})
	for _, tt := range []struct{ protocol, url, want string }{
		{"4", two, "--protocol 2"}, {"2", four, "Unsupported protocol version"},
	} {
		code, out, errs := shell(t, program, "hello\n", "connect", "--protocol", tt.protocol, tt.url)
		if code != 1 || out != "" || !strings.Contains(errs, tt.want) {
			t.Errorf("protocol %s: exit %d: %s%s", tt.protocol, code, out, errs)
		}
	}
}

// recoverTalk loses the connection, and nothing that is said meanwhile.
func recoverTalk(t *testing.T, program string) {
	t.Helper()
	p, url := startPlain(t, obj{"generation": 4, "recovery": true})
	var out, errs journal
	cmd := exec.CommandContext(t.Context(), program, "connect", "--json", "--ack", "-e", "echo", "--all", url)
	cmd.Env = os.Environ()
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sees := func(text string) {
		t.Helper()
		eventually(t, "to see "+text, func() bool { return strings.Contains(out.String(), text) })
	}
	sees(`"connect"`)
	p.do("emit", obj{"event": "news", "args": list{1}}, nil)
	sees(`"news"`)
	p.do("cut", obj{}, nil)
	sees(`"disconnect"`)
	if _, err := in.Write([]byte("typed meanwhile\n")); err != nil {
		t.Fatal(err)
	}
	p.do("emit", obj{"event": "missed", "args": list{2}}, nil)
	sees(`"recovered":true`)
	sees(`"event":"missed"`)
	sees(`"args":["typed meanwhile"]`)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s%s", err, &out, &errs)
	}
}
