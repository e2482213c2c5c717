package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"1", "-0.5e3", "true", "null", `"x"`, "[]", ` {"a": 1} `} {
		v, err := arguments([]string{a}, false)
		if err != nil {
			t.Errorf("%q: %v", a, err)
			continue
		}
		if b, err := parser.Value(v[0]).AppendJSON(nil); err != nil || strings.TrimSpace(string(b)) != strings.TrimSpace(a) {
			t.Errorf("%q is sent as %s, %v", a, b, err)
		}
	}
	for _, a := range []string{"", " ", "hello", "news at ten", "falsehood", "_1", "/path", "été", "x: 1"} {
		if v, err := arguments([]string{a}, false); err != nil || v[0] != a {
			t.Errorf("%q is sent as %v, %v", a, v, err)
		}
	}
	mistyped := []string{
		"{", "{a:1}", "[1,]", `"x`, "'x'", "01", "1.", ".5", "+1", "-", "--room", "1 2", "10.0.0.1", "2026-01-01",
		"True", "NULL", "undefined", "NaN", " {", "}", "]", ",1", ":1",
	}
	for _, a := range mistyped {
		if _, err := arguments([]string{"1", a}, false); err == nil || !strings.HasPrefix(err.Error(), "argument 2 is not JSON: ") {
			t.Errorf("%q: %v", a, err)
		}
		if v, err := arguments([]string{a}, true); err != nil || v[0] != a {
			t.Errorf("%q as text is sent as %v, %v", a, v, err)
		}
	}
	for _, text := range []bool{false, true} {
		if _, err := arguments([]string{"a\xff"}, text); err == nil {
			t.Error("no error for what is not UTF-8")
		}
	}
}

func TestShown_Bytes(t *testing.T) {
	t.Parallel()
	got := shown(parser.Value(map[string]any{"a": []any{[]byte("xyz"), 1}}))
	if s := fmt.Sprint(got); !strings.Contains(s, "base64:[120 121 122]") {
		t.Error(s)
	}
	if shown(parser.Arg{}) != nil {
		t.Error("an absent argument is something")
	}
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a b é 😀": "a b é 😀", "\x1b[31m": `\u001b[31m`, "\u009b": `\u009b`, "\u202e": `\u202e`, "\U000e0001": `\udb40\udc01`,
		"\x7f": `\u007f`,
	} {
		if got := harmless(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// TestRun_UsageOfOrders: nothing is sent where the words are wrong.
func TestRun_UsageOfOrders(t *testing.T) {
	t.Parallel()
	const redis = "--redis=redis://127.0.0.1:1"
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no event":         {[]string{"emit", redis}, "arg"},
		"bad JSON":         {[]string{"emit", redis, "e", "{a:1}"}, "argument 1 is not JSON"},
		"flag behind":      {[]string{"emit", redis, "e", "--room", "x"}, "flags go before the event"},
		"reserved":         {[]string{"emit", "e"}, "--redis"},
		"unknown flag":     {[]string{"emit", "--swim"}, "swim"},
		"mode":             {[]string{"emit", redis, "--redis-mode", "magic", "e"}, "magic"},
		"subscriptions":    {[]string{"emit", redis, "--redis-subscriptions", "some", "e"}, "some"},
		"timeout":          {[]string{"emit", redis, "--timeout", "0s", "e"}, "--timeout"},
		"odd timeout":      {[]string{"emit", redis, "--timeout", "soon", "e"}, "soon"},
		"empty room":       {[]string{"emit", redis, "--room", "", "e"}, "empty"},
		"no redis":         {[]string{"sockets"}, "--redis"},
		"argument":         {[]string{"sockets", redis, "x"}, "x"},
		"two outputs":      {[]string{"sockets", redis, "--json", "--count"}, "--count"},
		"rooms":            {[]string{"rooms", redis, "x"}, "x"},
		"everybody joins":  {[]string{"join", redis, "r"}, "--all"},
		"everybody leaves": {[]string{"leave", redis, "r"}, "--all"},
		"everybody goes":   {[]string{"disconnect", redis}, "--all"},
		"all but some":     {[]string{"disconnect", redis, "--except", "a"}, "--all"},
		"all and some":     {[]string{"disconnect", redis, "--all", "--room", "a"}, "--room"},
		"join no room":     {[]string{"join", redis, "--all"}, "arg"},
		"join empty room":  {[]string{"join", redis, "--all", ""}, "empty"},
		"leave empty room": {[]string{"leave", redis, "--all", ""}, "empty"},
		"completion":       {[]string{"completion", "pearl"}, "pearl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, nil, test.args...)
			first, _, _ := strings.Cut(errs, "\n")
			if code != exitUsage || out != "" || !strings.HasPrefix(first, "sockeye: ") || !strings.Contains(first, test.want) {
				t.Errorf("exit %d, %q, %q", code, out, errs)
			}
		})
	}
}

func TestRun_Completion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, errs := command(t, nil, "completion", shell); code != exitOK || !strings.Contains(out, "sockeye") || errs != "" {
			t.Errorf("%s: exit %d, %d bytes, %q", shell, code, len(out), errs)
		}
	}
	if _, out, _ := command(t, nil, "__complete", "sockets", "--redis-mode", ""); !strings.Contains(out, "sharded\n") {
		t.Errorf("completes %q", out)
	}
}
