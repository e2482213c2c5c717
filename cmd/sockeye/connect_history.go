package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

const (
	historyLines = 1000    // that are kept
	historyBytes = 1 << 20 // of the file that are read
	historyLine  = 4096    // longer lines are not kept
)

// history is the lines that were typed, of this talk and former ones. It is for one goroutine.
type history struct {
	all  []string
	file *os.File // where to append; nil = nowhere
}

// historyFile is the path, "" where there is no place for it.
func historyFile(env func(string) string) string {
	state := env("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home := env("HOME")
		if home == "" {
			home = env("USERPROFILE")
		}
		if !filepath.IsAbs(home) {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "sockeye", "history")
}

// openHistory reads the lines of former talks. Where that is not possible there are none.
func openHistory(env func(string) string, off bool) *history {
	h := &history{}
	path := historyFile(env)
	if off || path == "" || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return h
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return h
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || file.Chmod(0o600) != nil {
		_ = file.Close() // nothing was written
		return h
	}
	h.file = file
	from := max(info.Size()-historyBytes, 0)
	if _, err := file.Seek(from, 0); err != nil {
		return h
	}
	lines := bufio.NewScanner(file)
	for skip := from > 0; lines.Scan(); skip = false {
		if !skip { // the first may be cut
			h.remember(lines.Text())
		}
	}
	if info.Size() > historyBytes {
		h.rewrite(path)
	}
	return h
}

// rewrite leaves in the file what was read of it.
func (h *history) rewrite(path string) {
	text := strings.Join(h.all, "\n") + "\n"
	if next := path + ".new"; os.WriteFile(next, []byte(text), 0o600) == nil && os.Rename(next, path) == nil {
		_ = h.file.Close() // all of it was written
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			file = nil
		}
		h.file = file
	}
}

// remember adds a line for this talk. One that is like the last one is not doubled.
func (h *history) remember(line string) bool {
	if line == "" || line[0] == ' ' || len(line) > historyLine || len(h.all) > 0 && h.all[len(h.all)-1] == line {
		return false
	}
	h.all = append(h.all, line)
	if len(h.all) > historyLines {
		h.all = h.all[1:]
	}
	return true
}

// add adds a line for this talk and later ones.
func (h *history) add(line string) {
	if h.remember(line) && h.file != nil {
		_, _ = h.file.WriteString(line + "\n") // no line is worth ending a talk
	}
}

func (h *history) close() {
	if h.file != nil {
		_ = h.file.Close() // as above
	}
}
