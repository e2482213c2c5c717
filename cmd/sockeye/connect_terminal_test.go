package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// terminal is a real one, of tmux, in which a command runs.
type terminal struct {
	t      *testing.T
	socket string
}

// startTerminal runs the command in a terminal of 60 columns and 20 rows. When it has ended its exit code is shown.
func startTerminal(t *testing.T, env []string, args ...string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		testkit.Need(t, "tmux")
	}
	dir, err := os.MkdirTemp("", "tmux") //nolint:usetesting // a path to a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	term := &terminal{t, filepath.Join(dir, "s")}
	cmd := exec.CommandContext(t.Context(), "tmux", "-u", "-S", term.socket, "-f", "/dev/null", "-D")
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8", "SHELL=/bin/sh")
	testkit.StartChild(t, cmd)
	for i, a := range args {
		args[i] = "'" + a + "'"
	}
	line := strings.Join(append(env, commandVariable+"=1", os.Args[0], "connect"), " ") + " " + strings.Join(args, " ")
	command := "env " + line + "; echo \"exit $?\"; exec cat"
	testkit.Eventually(t, "tmux to run", func() bool {
		_, err := term.try("new-session", "-d", "-x", "60", "-y", "20", command)
		return err == nil
	})
	return term
}

// tmux gives an order to tmux, and what it prints.
func (x *terminal) tmux(args ...string) string {
	x.t.Helper()
	out, err := x.try(args...)
	if err != nil {
		x.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return out
}

// try never starts a server of its own: that would outlive the test.
func (x *terminal) try(args ...string) (string, error) {
	out, err := exec.CommandContext(x.t.Context(), "tmux", append([]string{"-N", "-u", "-S", x.socket}, args...)...).CombinedOutput()
	return string(out), err
}

// press presses keys, by tmux' names of them.
func (x *terminal) press(keys ...string) {
	x.t.Helper()
	x.tmux(append([]string{"send-keys"}, keys...)...)
}

// write types a text.
func (x *terminal) write(text string) { x.t.Helper(); x.tmux("send-keys", "-l", text) }

// rows is what the terminal shows, without the rows that are empty at the end.
func (x *terminal) rows() []string {
	x.t.Helper()
	rows := strings.Split(strings.TrimRight(x.tmux("capture-pane", "-p"), "\n"), "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	return rows
}

func (x *terminal) log(rows []string) {
	if x.t.Failed() {
		x.t.Logf("the terminal shows\n%s", strings.Join(rows, "\n"))
	}
}

// shows waits until these are the last rows.
func (x *terminal) shows(want ...string) {
	x.t.Helper()
	var rows []string
	defer func() { x.log(rows) }()
	testkit.Eventually(x.t, fmt.Sprintf("the terminal shows %q", want), func() bool {
		rows = x.rows()
		return len(rows) >= len(want) && slices.Equal(rows[len(rows)-len(want):], want)
	})
}

func emit(t *testing.T, p *partner, event string, args ...any) {
	t.Helper()
	if err := p.Emit(event, args...); err != nil {
		t.Fatal(err)
	}
}

// connectedRow waits for the first row, which has the id, and gives it.
func (x *terminal) connectedRow(p *partner) string {
	x.t.Helper()
	var rows []string
	row := ""
	defer func() { x.log(rows) }()
	testkit.Eventually(x.t, "the terminal to say that it is connected", func() bool {
		rows = x.rows()
		row = rows[0]
		return len(rows) == 2 && rows[1] == ">" && strings.HasPrefix(row, "connected to "+p.addr+" as ")
	})
	return row
}

// TestTerminal_TypesAndPrints: what arrives leaves the line alone that is being typed.
func TestTerminal_TypesAndPrints(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	x := startTerminal(t, []string{"XDG_STATE_HOME=" + t.TempDir()}, p.addr)
	top := x.connectedRow(p)
	x.write("half a li")
	x.shows(top, "> half a li")
	emit(t, p, "news", "first")
	x.shows(top, "< news first", "> half a li")
	x.write("ne")
	x.press("Enter")
	p.want("message half a line")
	x.shows("< news first", "> half a line", ">")

	// The keys of editing, and wide characters.
	x.write("日本 x")
	x.press("BSpace", "Left", "Left")
	x.write("é")
	emit(t, p, "news", "日本", 2)
	x.shows(`< news "日本" 2`, "> 日é本")
	x.press("Home")
	x.write("/emit wide ")
	x.press("End")
	x.write("!")
	x.press("Enter")
	p.want("message half a line", "wide 日é本 !")

	// What a hostile server sends is shown and not obeyed.
	emit(t, p, "evil\x1b[2J", "\x1b]0;title\a\x1b[2J\u202e")
	x.shows("> /emit wide 日é本 !", `< "evil\u001b[2J" "\u001b]0;title\u0007\u001b[2J\u202e"`, ">")
	x.press("C-d")
	x.shows(`< "evil\u001b[2J" "\u001b]0;title\u0007\u001b[2J\u202e"`, "exit 0")
	if rows := x.rows(); rows[0] != top {
		t.Errorf("the terminal shows\n%s", strings.Join(rows, "\n"))
	}
}

// TestTerminal_Resizes while a line is typed that is longer than the terminal is wide.
func TestTerminal_Resizes(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	x := startTerminal(t, []string{"XDG_STATE_HOME=" + t.TempDir()}, p.addr)
	x.connectedRow(p)
	words := make([]string, 20)
	for n := range words {
		words[n] = fmt.Sprintf("word%d", n)
	}
	long := strings.Join(words, " ")
	x.write(long)
	end := func(columns int) string { return "> " + long[len(long)-columns+len(prompt)+1:] }
	x.shows(end(60))
	x.tmux("resize-window", "-x", "40", "-y", "20")
	x.shows(end(40))
	emit(t, p, "news", "narrow")
	x.shows("< news narrow", end(40))
	x.tmux("resize-window", "-x", "70", "-y", "20")
	x.shows(end(70))
	emit(t, p, "news", "wide")
	x.shows("< news wide", end(70))
	x.press("Enter")
	p.want("message " + long)
	// As wide as two rows.
	emit(t, p, "n", strings.Repeat("x", 2*70-len("< n ")))
	x.write("still here")
	testkit.Eventually(t, "the line below", func() bool {
		rows := x.rows()
		return rows[len(rows)-1] == "> still here" && strings.Count(strings.Join(rows, "\n"), "still here") == 1
	})
}

// TestTerminal_History: former lines come back, also in the next talk; Ctrl-C clears a line and ends on an empty one.
func TestTerminal_History(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	state := t.TempDir()
	x := startTerminal(t, []string{"XDG_STATE_HOME=" + state}, p.addr)
	x.connectedRow(p)
	for _, line := range []string{"first line", "second line", " secret"} {
		x.write(line)
		x.press("Enter")
	}
	p.want("message first line", "message second line", `message " secret"`)
	x.write("new")
	x.press("Up", "Up")
	x.shows("> first line")
	x.press("Down", "Down")
	x.shows("> new")
	x.press("C-c")
	x.shows(">")
	x.write("fir")
	x.press("C-r")
	x.shows("> first line")
	x.press("C-c")
	x.shows(">")
	x.press("C-c")
	x.shows("exit 130")

	b, err := os.ReadFile(filepath.Join(state, "sockeye", "history"))
	if err != nil || string(b) != "first line\nsecond line\n" {
		t.Errorf("history %q, %v", b, err)
	}
	x = startTerminal(t, []string{"XDG_STATE_HOME=" + state}, "--no-history", p.addr)
	x.connectedRow(p)
	x.press("Up")
	x.write("not kept")
	x.press("Enter")
	x.shows("> not kept", ">")
	x.press("C-d")
	x.shows("exit 0")
	x = startTerminal(t, []string{"XDG_STATE_HOME=" + state}, p.addr)
	x.connectedRow(p)
	x.press("Up")
	x.shows("> second line")
}

// TestTerminal_Colors are there on a terminal, unless NO_COLOR is set.
func TestTerminal_Colors(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	for _, test := range []struct {
		env  string
		want bool
	}{{"NO_COLOR=", true}, {"NO_COLOR=1", false}} {
		t.Run(test.env, func(t *testing.T) {
			t.Parallel()
			x := startTerminal(t, []string{"XDG_STATE_HOME=" + t.TempDir(), test.env}, p.addr)
			x.connectedRow(p)
			x.write("/help")
			x.press("Enter")
			testkit.Eventually(t, "the help", func() bool {
				return slices.ContainsFunc(x.rows(), func(row string) bool { return strings.HasPrefix(row, "/quit") })
			})
			if got := strings.Contains(x.tmux("capture-pane", "-p", "-e"), "\x1b["); got != test.want {
				t.Errorf("colors: %v", got)
			}
		})
	}
}

// TestTerminal_ServerGoes ends with the server, and says why below what was printed.
func TestTerminal_ServerGoes(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	x := startTerminal(t, []string{"XDG_STATE_HOME=" + t.TempDir()}, "-q", p.addr)
	x.shows(">")
	x.write("/emit show it")
	x.press("Enter")
	x.shows("> /emit show it", "< shown it", `< message "for all" <2 bytes 0102>`,
		"sockeye: "+p.addr+" has ended the connection", "exit 1")
}

// TestTerminal_InterruptsConnecting to a server that says nothing.
func TestTerminal_InterruptsConnecting(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	silent := testkit.StartProxy(t, p.addr)
	silent.Hang(testkit.ToServer)
	x := startTerminal(t, []string{"XDG_STATE_HOME=" + t.TempDir()}, silent.Addr)
	x.shows(">")
	x.write("too early")
	x.shows("> too early")
	x.press("C-c")
	x.shows(">")
	x.press("C-c")
	x.shows("exit 130")
}

// TestTerminal_NoServer gives the terminal back.
func TestTerminal_NoServer(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	x := startTerminal(t, []string{"XDG_STATE_HOME=" + t.TempDir()}, addr)
	testkit.Eventually(t, "an error", func() bool {
		return strings.Join(x.rows(), "") == "sockeye: cannot connect to "+addr+": dial tcp "+addr+": connect: connection refusedexit 1"
	})
}
