package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// newIDs are ids that are others each time.
var newIDs = regexp.MustCompile(`"id":"[^"]+"`)

// transcript runs the commands of a file, which begin with "$ ", and compares what they print with what the file has.
// Names of environment are put in place of their values. UPDATE=1 writes the file.
func transcript(t *testing.T, file string, names map[string]string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(want)) {
		if strings.HasPrefix(line, "#") {
			got.WriteString(line)
		}
		if !strings.HasPrefix(line, "$ ") {
			continue
		}
		got.WriteString(line)
		code, out := shell(t, strings.TrimSpace(line[2:]), names)
		for name, value := range names {
			out = strings.ReplaceAll(out, value, name)
		}
		got.WriteString(newIDs.ReplaceAllString(out, `"id":"ID"`))
		if code != exitOK {
			got.WriteString("[exit " + strconv.Itoa(code) + "]\n")
		}
		got.WriteString("\n")
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(want) {
		t.Errorf("%s is now\n%s", file, got.String())
	}
}

// shell runs "sockeye ..." or "echo '...' | sockeye ...", and gives what it prints, errors last.
func shell(t *testing.T, line string, names map[string]string) (code int, out string) {
	t.Helper()
	for name, value := range names {
		line = strings.ReplaceAll(line, name, value)
	}
	input := ""
	if echo, rest, ok := strings.Cut(line, " | "); ok {
		if w := words(echo); len(w) == 2 && w[0] == "echo" {
			input, line = w[1]+"\n", rest
		}
	}
	w := words(line)
	if len(w) == 0 || w[0] != "sockeye" {
		t.Fatalf("not a line of a transcript: %s", line)
	}
	var stdout, stderr output
	code = run(t.Context(), invocation{
		args: w[1:], env: environment(nil).get, stdin: strings.NewReader(input), stdout: &stdout, stderr: &stderr,
	})
	return code, stdout.String() + stderr.String()
}

// words cuts a line at blanks outside of single quotes.
func words(line string) (all []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		var word string
		if line[0] == '\'' {
			word, line, _ = strings.Cut(line[1:], "'")
		} else {
			word, line, _ = strings.Cut(line, " ")
		}
		all = append(all, word)
	}
	return all
}

func TestTranscript_Help(t *testing.T) {
	t.Parallel()
	transcript(t, "help.txt", nil)
}

func TestTranscript_Serve(t *testing.T) {
	t.Parallel()
	transcript(t, "serve.txt", nil)
}

func TestTranscript_Usage(t *testing.T) {
	t.Parallel()
	transcript(t, "usage.txt", map[string]string{"NOBODY": testkit.FreeAddr(t)})
}

func TestTranscript_Decode(t *testing.T) {
	t.Parallel()
	transcript(t, "decode.txt", nil)
}

// TestTranscript_Cluster: clients a and b at two servers.
func TestTranscript_Cluster(t *testing.T) {
	t.Parallel()
	l := startLibrary(t, modePubSub)
	a, b := l.visit("a", 0, ""), l.visit("b", 1, "")
	if a.id > b.id {
		a, b = b, a // they are listed by their ids
	}
	a.rename("a")
	b.rename("b")
	l.done("join", "--room", a.id, "lobby")
	l.done("join", "--room", b.id, "lobby", "two words")
	testkit.Eventually(t, "both are in their rooms", func() bool {
		return l.done("sockets", "--count", "--room", "two words") == "1\n" && l.done("sockets", "--count", "--room", "lobby") == "2\n"
	})
	transcript(t, "cluster.txt", map[string]string{
		"REDIS": l.redis.URL(), "THE-ID-OF-A---------": a.id, "THE-ID-OF-B---------": b.id,
	})
}

// TestHelp_Examples: each command has two examples at least, and they are in its help.
func TestHelp_Examples(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"serve", "emit", "sockets", "rooms", "join", "leave", "disconnect", "decode", "connect", "bench"} {
		code, out, errs := command(t, nil, name, "--help")
		_, examples, _ := strings.Cut(out, "\nExamples:\n")
		examples, _, _ = strings.Cut(examples, "\n\n")
		if code != exitOK || errs != "" || strings.Count(examples, "sockeye "+name)+strings.Count(examples, "sockeye decode") < 2 {
			t.Errorf("%s: exit %d, %s\n%s", name, code, errs, out)
		}
	}
}
