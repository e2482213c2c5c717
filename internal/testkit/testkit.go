// Package testkit has what tests of several packages share. Only tests import it.
package testkit

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var shared = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "tests") })

var hasShared atomic.Bool

// SharedDir is a directory for what several tests of a package use. It lasts as long as they do, if they run under Main.
func SharedDir(t testing.TB) string {
	t.Helper()
	hasShared.Store(true)
	dir, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Main runs the tests of a package and fails if they leave goroutines behind.
func Main(m *testing.M) {
	code := m.Run()
	if hasShared.Load() {
		if dir, err := shared(); err == nil {
			_ = os.RemoveAll(dir) // the system clears it otherwise
		}
	}
	if code == 0 {
		if left := leaked(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked waits until only goroutines that are not ours remain, and describes those that stay.
func leaked(limit time.Duration) string {
	deadline := time.Now().Add(Scale(limit))
	for {
		var left []string
		buf := make([]byte, 4<<20)
		for stack := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			if ours(string(stack)) {
				left = append(left, string(stack))
			}
		}
		if len(left) == 0 {
			return ""
		}
		if time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func ours(stack string) bool {
	for _, other := range []string{
		"testkit.leaked", "testing.Main(", "testing.(*M)", "os/signal.loop", "os/signal.signal_recv",
		"runtime.ensureSigM", "testkit.startProcesses", "testing.runFuzzing", "testing.(*F)", "testing/internal/testdeps",
	} {
		if strings.Contains(stack, other) {
			return false
		}
	}
	return true
}

// patience is what every time limit is multiplied by: all packages are tested at once, on machines that do other things
// as well, and a limit that is never reached costs nothing.
const patience = 3

// Scale makes a time limit several times as long as it is on an idle machine, and multiplies it by TIMESCALE, for slow
// machines. It is for limits only, never for assertions.
func Scale(d time.Duration) time.Duration {
	d *= patience
	if f, err := strconv.ParseFloat(os.Getenv("TIMESCALE"), 64); err == nil && f > 0 {
		return time.Duration(float64(d) * f)
	}
	return d
}

// Eventually waits until ok, at most 10 s (scaled), and fails the test if it does not come true.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, 10*time.Second, what, ok)
}

// within is Eventually with another limit.
func within(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Scale(limit))
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within the time limit: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Need reports that something the test needs is missing: a failure with CI=true, a skip elsewhere.
func Need(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing: %s", what)
	}
	t.Skipf("missing: %s", what)
}
