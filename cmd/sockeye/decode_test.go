package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/rediswire"
)

// decoded runs "decode" on an input.
func decoded(t *testing.T, input string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	code = run(t.Context(), invocation{
		args: append([]string{"decode"}, args...), env: environment(nil).get, stdin: strings.NewReader(input), stdout: &out, stderr: &errs,
	})
	return code, out.String(), errs.String()
}

// wellFormed are messages of each kind, with what must be said about them.
var wellFormed = []struct{ name, kind, input, want string }{
	{"event", kindEIO, `42/chat,7["hello",{"a":1}]`, `name of the event: "hello"`},
	{"ping", kindEIO, "2probe", "Engine.IO packet: ping"},
	{"open", kindEIO, `0{"sid":"x","upgrades":[],"pingInterval":1,"pingTimeout":2}`, "ms between pings: 1"},
	{"connect error", kindEIO, `44{"message":"no"}`, "CONNECT_ERROR"},
	{"ack", kindSIO, `3/a,12[null]`, "acknowledgement id"},
	{"disconnect", kindSIO, `1/a,`, "DISCONNECT"},
	{"connect error alone", kindSIO, `4{"message":"no"}`, "CONNECT_ERROR"},
	{"msgpack", kindSIO, "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e\x01", "socket.io-msgpack-parser"},
	{"polling", kindPolling, "42[\"e\"]\x1e3\x1e2", "separator"},
	{"polling 3", kindPolling, `9:42["€",1]1:2`, "9 UTF-16 units"},
	{"polling 3, bytes", kindPolling, "\x00\x07\xff42[\"e\"]", "packet of text, 7 bytes"},
	{"classic", kindClassic, "\x93\xa3abc\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa1/\x83\xa5rooms\x91\xa1r\xa6except\x90\xa5flags\x80", `room: "r"`},
	{"request", kindRequest, `{"uid":"abcdef","requestId":"qwerty","type":5,"opts":{"rooms":[],"except":[]}}`, "5, fetch sockets"},
	{"old request", kindRequest, `{"requestid":"qwerty","type":1,"sid":"abc"}`, "which rooms is a socket in"},
	{"response", kindResponse, `{"requestId":"qwerty","sockets":[{"id":"a","rooms":["a"],"data":{},"handshake":{}}]}`, "its id"},
	{"count", kindResponse, `{"type":8,"requestId":"qwerty","clientCount":3}`, "how many sockets will acknowledge: 3"},
	{"sharded", kindSharded, `{"type":4,"data":{"opts":{"rooms":[],"except":[]},"rooms":["r"]},"uid":"a","nsp":"/"}`, "4, sockets join rooms"},
	{"stream", kindStream, `{"uid":"emitter","nsp":"/","type":"3","data":"{\"packet\":{\"type\":2,\"data\":[\"news\"],\"nsp\":\"/\"},\"opts\":{\"rooms\":[],\"except\":[]}}"}`, `name of the event: "news"`},
}

func TestDecode_Kinds(t *testing.T) {
	t.Parallel()
	for _, test := range wellFormed {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, args := range [][]string{{"--raw"}, {"--raw", "--kind", test.kind}} {
				code, out, errs := decoded(t, test.input, args...)
				if code != exitOK || errs != "" || !strings.Contains(out, test.want) || !strings.Contains(out, "("+test.kind+")") {
					t.Errorf("%q: exit %d, %s\n%s", args, code, errs, out)
				}
			}
		})
	}
}

// TestDecode_Control: what servers of this implementation say to each other is known too.
func TestDecode_Control(t *testing.T) {
	t.Parallel()
	for kind := rediswire.ControlAlive; kind <= rediswire.ControlAnswer; kind++ {
		b := rediswire.AppendControl(nil, &rediswire.Control{
			Kind: kind, Server: "server", Serial: 7, Members: []rediswire.ControlMember{{Namespace: "/", UID: "uid"}},
			UID: "uid", Namespace: "/", RequestID: "request", What: rediswire.AskRooms, Rooms: []string{"r"}, Count: 3,
			Sizes: []rediswire.RoomSize{{Room: "r", Sockets: 3}}, Payload: []byte("{}"),
		})
		code, out, errs := decoded(t, string(b), "--raw")
		if code != exitOK || errs != "" || !strings.Contains(out, "(control)") || !strings.Contains(out, `id of the sending server: "server"`) ||
			strings.Contains(out, "unknown") || strings.Contains(out, "element 3") {
			t.Errorf("kind %d: exit %d, %s\n%s", kind, code, errs, out)
		}
		for n := range b {
			if code, out, _ := decoded(t, string(b[:n]), "--raw", "--kind", "control"); code != exitError || !strings.Contains(out, "wrong at ") {
				t.Errorf("%q: exit %d, %s", b[:n], code, out)
			}
		}
	}
}

func TestDecode_Forms(t *testing.T) {
	t.Parallel()
	const message = `42["a",1]`
	dir := t.TempDir()
	file := filepath.Join(dir, "messages")
	if err := os.WriteFile(file, []byte(message+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, want, _ := decoded(t, message)
	for name, test := range map[string]struct {
		input string
		args  []string
	}{
		"hex":         {hex.EncodeToString([]byte(message)), []string{"--hex"}},
		"spaced hex":  {" 34 32 5b2261222c315d \r\n\n", []string{"--hex"}},
		"base64":      {base64.StdEncoding.EncodeToString([]byte(message)), []string{"--base64"}},
		"raw":         {message, []string{"--raw"}},
		"file":        {"", []string{file}},
		"dash":        {message, []string{"-"}},
		"empty lines": {"\n\n" + message + "\r\n\n", nil},
		"redis-cli":   {`"42[\"a\",1]"`, nil},
		"list":        {`3) "42[\"a\",1]"`, nil},
	} {
		if code, out, errs := decoded(t, test.input, test.args...); code != exitOK || out != want || errs != "" {
			t.Errorf("%s: exit %d, %s%s", name, code, errs, out)
		}
	}
}

// TestDecode_Attachments: packets and what belongs to them are in several messages.
func TestDecode_Attachments(t *testing.T) {
	t.Parallel()
	head := `451-["up",{"_placeholder":true,"num":0}]`
	for name, test := range map[string]struct {
		input string
		args  []string
	}{
		"polling":   {head + "\x1ebAQID", nil},
		"two lines": {head + "\nbAQID\n", nil},
		"WebSocket": {hex.EncodeToString([]byte(head)) + "\n010203\n", []string{"--hex"}},
		"text":      {head + "\nabc\n", nil},
		"revision 4": {
			hex.EncodeToString([]byte(head)) + "\n04010203\n", []string{"--hex", "--protocol", "3"},
		},
	} {
		if code, out, errs := decoded(t, test.input, test.args...); code != exitOK || !strings.Contains(out, "attachment, 3 bytes") {
			t.Errorf("%s: exit %d, %s%s", name, code, errs, out)
		}
	}
	if code, out, _ := decoded(t, "bAQID"); code != exitOK || !strings.Contains(out, "before the input") {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, out, _ := decoded(t, "42[\"a\"]\nbAQID"); code != exitError || !strings.Contains(out, "wrong at 0: no packet") {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, out, _ := decoded(t, head); code != exitError || !strings.Contains(out, "attachments that are missing: 1") {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, out, _ := decoded(t, head+"\n42[\"a\"]"); code != exitError || !strings.Contains(out, "that are missing: 1") {
		t.Errorf("exit %d, %s", code, out)
	}
}

func TestDecode_Malformed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		input, kind string
		at          int
	}{
		{`42["a",]`, "", 7},
		{`42["a" "b"]`, "", 7},
		{`42["a"`, "", 6},
		{`42{"a":1}`, "", 2},
		{`42[]`, "", 4},
		{`42["connect"]`, "", 1},
		{`45["a"]`, "", 2},
		{`49["a"]`, "", 1},
		{"4€", "", 1},
		{"\x00\x09", kindPolling, 0},
		{"\x00\x02\xff4", kindPolling, 0},
		{"\x02\x01\xff4", kindPolling, 2},
		{"42[\"a\"]\x1e", kindPolling, 8},
		{"3:4\xff", kindPolling, 3},
		{"9:42", "", 0},
		{`7`, kindEIO, 0},
		{`4`, kindSIO, -1},
		{"b!!", "", 1},
		{`2["` + "\xff" + `"]`, kindSIO, 3},
		{`5:42`, "", 0},
		{"\x93\xa3abc\x80", "", 6},
		{"\x92\xa3abc\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa1/", kindClassic, 26},
		{"\x93\xa3abc\x80\x80", "", 6},
		{"\x93\xa3abc\x81\xa4type\xa1x\x80", "", 11},
		{`{"uid":1,"requestId":"q","type":"x"}`, kindRequest, 32},
		{`{"uid":"a","requestId":"q"}`, kindRequest, 27},
		{`{"type":3,"uid":"a","nsp":"/","data":{"packet":{"type":2,"data":[],"nsp":"/"},"opts":{}}}`, "", 66},
		{`{"type":99,"uid":"a","nsp":"/","data":{}}`, "", 0},
		{`{"uid":"a","nsp":"/","type":"3","data":"?"}`, "", 0},
		{strings.Repeat("[", 700), kindSharded, 0},
		{`42["a",` + strings.Repeat("[", 700), "", 606},
		{"hello", "", 0},
	} {
		args := []string{"--raw"}
		if test.kind != "" {
			args = append(args, "--kind", test.kind)
		}
		code, out, errs := decoded(t, test.input, args...)
		if test.at < 0 {
			if code != exitOK {
				t.Errorf("%.80q: exit %d, %s", test.input, code, out)
			}
			continue
		}
		if code != exitError || !strings.Contains(out, "wrong at "+strconv.Itoa(test.at)+": ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%.80q: exit %d, %s%.2000s", test.input, code, errs, out)
		}
	}
	for _, args := range [][]string{{"--hex"}, {"--base64"}} {
		if code, out, _ := decoded(t, "xyz!", args...); code != exitError || !strings.Contains(out, "cannot be read") {
			t.Errorf("%q: exit %d, %s", args, code, out)
		}
	}
	if code, out, errs := decoded(t, "\n"); code != exitError || out != "" || !strings.Contains(errs, "no message") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}

// TestDecode_Prefixes: what ends early is told, and what came before it too.
func TestDecode_Prefixes(t *testing.T) {
	t.Parallel()
	for _, test := range wellFormed {
		for n := range len(test.input) {
			d := decoder{out: new(bytes.Buffer), protocol: 4}
			d.message([]byte(test.input[:n]), test.kind)
			if d.faulty && !strings.Contains(d.out.String(), "wrong at ") {
				t.Errorf("%q: %s", test.input[:n], d.out)
			}
		}
	}
}

func TestDecode_Monitor(t *testing.T) {
	t.Parallel()
	code, out, errs := decoded(t, `OK
1700000000.123456 [0 127.0.0.1:5000] "PING"
1700000000.123456 [0 unix:/run/redis.sock] "PUBLISH" "socket.io-request#/#" "{\"requestId\":\"qwerty\",\"type\":5,\"uid\":\"abcdef\",\"opts\":{\"rooms\":[],\"except\":[]}}"
1700000000.123456 [0 127.0.0.1:5000] "XADD" "socket.io" "NOMKSTREAM" "MAXLEN" "~" "10" "LIMIT" "5" "*" "uid" "emitter" "nsp" "/" "type" "5" "data" "gqRvcHRzgqVyb29tc5CmZXhjZXB0kKVyb29tc5GhYQ=="
`)
	if code != exitOK || errs != "" || strings.Count(out, "message ") < 2 || !strings.Contains(out, `"PING" of Redis is no message`) ||
		!strings.Contains(out, "5, fetch sockets") || !strings.Contains(out, `"5", sockets leave rooms`) || !strings.Contains(out, `room: "a"`) {
		t.Errorf("exit %d, %s%s", code, errs, out)
	}
}

// TestDecode_Terminal: nothing that a message holds acts on the terminal.
func TestDecode_Terminal(t *testing.T) {
	t.Parallel()
	for _, input := range []string{
		"42[\"\\u001b[31m\",{\"\\u009b\":\"\u009b\u202e\"}]", "\x1b[31m", "42\x1b", "2\x1b[31m", "\x93\xa2\x1b[\x80\x80", "42/\x1b[31m,[\"a\"]",
		`"\x1b[31m" "\x1b[31m"`, `"PUBLISH" "\x1b[31m" "2"`,
	} {
		_, out, errs := decoded(t, input)
		for _, r := range out + errs {
			if r != '\n' && harmful(r) {
				t.Errorf("%q: prints %q", input, out)
				break
			}
		}
	}
}

func TestDecode_Usage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--kind", "odd"}, {"--protocol", "5"}, {"--hex", "--raw"}, {"--hex", "--base64"}, {"a", "b"}, {"--swim"},
	} {
		if code, out, errs := decoded(t, "2", args...); code != exitUsage || out != "" || !strings.HasPrefix(errs, "sockeye: ") {
			t.Errorf("%q: exit %d, %s%s", args, code, errs, out)
		}
	}
	if code, _, errs := decoded(t, "", filepath.Join(t.TempDir(), "none")); code != exitError || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func FuzzDecode(f *testing.F) {
	for _, test := range wellFormed {
		f.Add([]byte(test.input), uint8(0))
	}
	f.Add([]byte(`1) "\x93\xa1" "x"`), uint8(1))
	f.Add([]byte("451-[\"up\",{\"_placeholder\":true,\"num\":0}]\nbAQID"), uint8(2))
	f.Fuzz(func(t *testing.T, input []byte, how uint8) {
		o := decodeOptions{protocol: 3 + int(how&1), raw: how&2 != 0}
		if how>>2 > 0 {
			o.kind = kinds()[int(how>>2)%len(kinds())]
		}
		var out bytes.Buffer
		if err := o.decode(&out, input); err == nil && out.Len() == 0 {
			t.Error("nothing is said")
		}
		if bytes.ContainsFunc(bytes.ReplaceAll(out.Bytes(), []byte("\n"), nil), harmful) {
			t.Errorf("prints %q", out.String())
		}
	})
}
