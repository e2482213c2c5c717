package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

// summary is what a line means, as text.
func (o typed) summary() string {
	words := []string{strconv.Itoa(int(o.what))}
	if o.event != "" {
		words = append(words, o.event+":")
	}
	for _, a := range o.args {
		words = append(words, plainArg(parser.Value(a)))
	}
	return strings.Join(words, " ")
}

func TestParseLine(t *testing.T) {
	t.Parallel()
	send, ask, reply := fmt.Sprint(doSend), fmt.Sprint(doAsk), fmt.Sprint(doReply)
	for line, want := range map[string]string{
		"":                       "0",
		" \t":                    "0",
		"hello":                  send + ` e: "hello"`,
		" hello  world ":         send + ` e: " hello  world "`,
		"42":                     send + ` e: 42`,
		" 1 2 ":                  send + ` e: 1 2`,
		`"a b" null {"c":[1,2]}`: send + ` e: "a b" null {"c":[1,2]}`,
		"10.0.0.1":               send + ` e: "10.0.0.1"`,
		"1,2":                    send + ` e: "1,2"`,
		`{"a":1}{"b":2}`:         send + ` e: "{\"a\":1}{\"b\":2}"`,
		`"a""b"`:                 send + ` e: "\"a\"\"b\""`,
		"truefalse":              send + ` e: "truefalse"`,
		"{a:1}":                  send + ` e: "{a:1}"`,
		"1 apple":                send + ` e: "1 apple"`,
		"12345678901234567890.5": send + ` e: 12345678901234567890.5`,
		"//path/to":              send + ` e: "/path/to"`,
		"//":                     send + ` e: "/"`,
		"///":                    send + ` e: "//"`,
		"/emit x":                send + ` x:`,
		"/emit x y z":            send + ` x: "y z"`,
		"/emit x 1 2":            send + ` x: 1 2`,
		`/emit "two words" 1`:    send + ` two words: 1`,
		`/emit "x"1`:             send + ` x: 1`,
		"/ack x 1":               ask + ` x: 1`,
		"/reply 3 \"ok\"":        reply + ` "ok"`,
		"/reply #3":              reply,
		"/help":                  fmt.Sprint(doHelp),
		"/quit":                  fmt.Sprint(doQuit),
	} {
		if o, err := parseLine(line, "e", false); err != nil || o.summary() != want {
			t.Errorf("%q means %s, %v; want %s", line, o.summary(), err, want)
		}
	}
	for _, line := range []string{"/", "/nope x", "/emit", "/emit ", "/emit connect", `/emit "x`, "/reply", "/reply x", "/ack", "a\xff"} {
		if o, err := parseLine(line, "e", false); err == nil {
			t.Errorf("%q means %s", line, o.summary())
		}
	}
	for _, line := range []string{"", "/quit", "42", " x"} {
		if o, err := parseLine(line, "e", true); err != nil || o.what != doSend || o.args[0] != line {
			t.Errorf("%q as text: %s, %v", line, o.summary(), err)
		}
	}
}

// TestWithArguments_Blanks: what is blank is not always so to JSON.
func TestWithArguments_Blanks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, " \t": 0, "\u3000": 1, "\u00a0 ": 1} {
		if o := withArguments(typed{}, text); len(o.args) != want || o.doubtful {
			t.Errorf("%q: %+v", text, o)
		}
	}
	for text, want := range map[string]bool{"{a": true, " [1,": true, `"a`: true, "a{": false, "1 a": false} {
		if o := withArguments(typed{}, text); o.doubtful != want {
			t.Errorf("%q: %+v", text, o)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"", "hello", `1 {"a":2} "x"`, "/emit e 1", `/emit "a b" x`, "/reply 1 2", "//x", "/", "{", "\"\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		o, err := parseLine(line, "e", false)
		if err != nil {
			return
		}
		if o.what == doSend && o.event == "" && !strings.HasPrefix(line, `/emit ""`) && !strings.HasPrefix(line, "/") {
			t.Errorf("%q is an event without a name", line)
		}
		for _, a := range o.args {
			if _, err := parser.Value(a).AppendJSON(nil); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}

// TestPlain_CanBeTyped: what is printed means the same when it is typed.
func TestPlain_CanBeTyped(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]any{
		"hello world":      {"hello world"},
		`"42"`:             {"42"},
		`"true"`:           {"true"},
		`""`:               {""},
		`" x"`:             {" x"},
		`"a\nb"`:           {"a\nb"},
		`"\u001b[2J"`:      {"\x1b[2J"},
		`"a" "b"`:          {"a", "b"},
		`{"a":"<&>"} null`: {map[string]string{"a": "<&>"}, nil},
		"日本":               {"日本"},
		"":                 nil,
	} {
		all := make([]parser.Arg, len(args))
		for i, a := range args {
			all[i] = parser.Value(a)
		}
		got := plainArgs(all)
		if got != want {
			t.Errorf("%q is printed %s, want %s", args, got, want)
		}
		if back := withArguments(typed{}, got).args; len(back) != len(args) {
			t.Errorf("%s is read as %q", got, back)
		}
	}
	for name, want := range map[string]string{"news": "news", "two words": `"two words"`, "": `""`, "a\x1b": `"a\u001b"`, `"`: `"\""`} {
		if got := plainName(name); got != want {
			t.Errorf("%q is printed %s, want %s", name, got, want)
		}
	}
}

func TestPlain_Bytes(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		"<0 bytes>":        []byte{},
		"<1 byte 0a>":      []byte{10},
		"<3 bytes 000aff>": []byte{0, 10, 255},
		"<100 bytes " + strings.Repeat("61", shownBytes) + "...>": []byte(strings.Repeat("a", 100)),
		`{"b":[<1 byte 01>,"\u001b"],"z":1}`:                      map[string]any{"z": 1, "b": []any{[]byte{1}, "\x1b"}},
	} {
		if got := plainArgs([]parser.Arg{parser.Value(v)}); got != want {
			t.Errorf("%v is printed %s, want %s", v, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	if s := strings.Repeat("é", shownRunes); shorten(s) != s {
		t.Error("cut too early")
	}
	if got, want := shorten(strings.Repeat("é", shownRunes+1)), "é... (10000 of 10001 characters)"; !strings.HasSuffix(got, want) {
		t.Errorf("ends with %q", got[len(got)-50:])
	}
}

func TestReadLine(t *testing.T) {
	t.Parallel()
	in := bufio.NewReaderSize(strings.NewReader("a\r\n\n"+strings.Repeat("b", 100)+"\nlast"), 16)
	for _, want := range []string{"a", "", strings.Repeat("b", 100)} {
		if got, err := readLine(in); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if got, err := readLine(in); err == nil || got != "last" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readLine(bufio.NewReader(strings.NewReader(strings.Repeat("c", maxLine+1)))); !errors.Is(err, errLongLine) {
		t.Errorf("a long line: %v", err)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := environment{"XDG_STATE_HOME": dir}.get
	file := filepath.Join(dir, "sockeye", "history")
	h := openHistory(env, false)
	for _, line := range []string{"one", "one", "", " secret", strings.Repeat("x", historyLine+1), "two", "one"} {
		h.add(line)
	}
	h.close()
	want := []string{"one", "two", "one"}
	if h := openHistory(env, false); !slices.Equal(h.all, want) {
		t.Errorf("%q", h.all)
	} else {
		h.close()
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if h := openHistory(env, true); h.all != nil || h.file != nil {
		t.Error("it was not wanted")
	}
	if h := openHistory(environment(nil).get, false); h.file != nil {
		t.Error("there is no place for it")
	}
	if err := os.WriteFile(file, []byte(strings.Repeat(strings.Repeat("y", 1023)+"\nz\n", 1200)), 0o600); err != nil {
		t.Fatal(err)
	}
	h = openHistory(env, false)
	if len(h.all) != historyLines {
		t.Errorf("%d lines", len(h.all))
	}
	h.add("new")
	h.close()
	if info, err := os.Stat(file); err != nil || info.Size() > historyBytes {
		t.Errorf("it grows: %v, %v", info, err)
	}
	if h = openHistory(env, false); h.all[len(h.all)-1] != "new" {
		t.Error("the last line is lost")
	}
	h.close()
}

// TestRun_UsageOfClients: nothing is connected to where the words are wrong, and nothing secret is said.
func TestRun_UsageOfClients(t *testing.T) {
	t.Parallel()
	const url = "http://127.0.0.1:1"
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no URL":            {nil, "arg"},
		"scheme":            {[]string{"redis://h"}, "http://"},
		"no host":           {[]string{"http://"}, "http://"},
		"odd URL":           {[]string{"http://u:hidden@h:x y"}, "URL"},
		"two namespaces":    {[]string{"-n", "/a", url + "/b"}, "namespace"},
		"namespace":         {[]string{"-n", "a,b", url}, "namespace"},
		"transport":         {[]string{"--transport", "pigeon", url}, "pigeon"},
		"protocol":          {[]string{"--protocol", "5", url}, `"5"`},
		"parser":            {[]string{"--parser", "xml", url}, "xml"},
		"header":            {[]string{"--header", "hidden", url}, "--header"},
		"header name":       {[]string{"--header", "a b: hidden", url}, "--header"},
		"header value":      {[]string{"--header", "a: hidden\r\nb: c", url}, "--header"},
		"query":             {[]string{"--query", "hidden", url}, "--query"},
		"auth":              {[]string{"--auth", "hidden", url}, "--auth"},
		"auth is no object": {[]string{"--auth", `["hidden"]`, url}, "--auth"},
		"auth file":         {[]string{"--auth", "@/no/such/file", url}, "/no/such/file"},
		"auth of 2":         {[]string{"--auth", `{"a":"hidden"}`, "--protocol", "2", url}, "--protocol 2"},
		"ca":                {[]string{"--ca", "/no/such/file", url}, "/no/such/file"},
		"ca and insecure":   {[]string{"--ca", "x", "--insecure", url}, "--insecure"},
		"timeout":           {[]string{"--timeout", "0s", url}, "--timeout"},
		"wait":              {[]string{"--wait", "-1s", url}, "--wait"},
		"listen and ack":    {[]string{"-l", "--ack", url}, "--listen"},
		"reserved":          {[]string{"-e", "disconnect", url}, "--event"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, nil, append([]string{"connect"}, test.args...)...)
			first, _, _ := strings.Cut(errs, "\n")
			if code != exitUsage || out != "" || !strings.HasPrefix(first, "sockeye: ") || !strings.Contains(first, test.want) ||
				strings.Contains(errs, "hidden") {
				t.Errorf("exit %d, %q, %q", code, out, errs)
			}
		})
	}
}
