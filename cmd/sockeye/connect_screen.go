package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
)

// screen is where a talk is printed. It is safe for concurrent use: each line is one write.
type screen struct {
	out, notes io.Writer
	colors     painter // of out
	noteColors painter
	json       bool

	ui atomic.Pointer[editor] // while somebody types on a terminal
}

// editing tells whether somebody types on a terminal.
func (s *screen) editing() bool { return s.ui.Load() != nil }

// print shows what came from the server; with --json it is not for words.
func (s *screen) print(line string) {
	if s.json {
		return
	}
	if s.editing() {
		line = s.colors.paint(colorQuiet, "< ") + line
	}
	s.put(s.out, line)
}

// record shows what is there with --json alone.
func (s *screen) record(r record) {
	if s.json {
		s.put(s.out, r.line())
	}
}

// note tells of what is no output.
func (s *screen) note(text string) {
	if s.editing() {
		for line := range strings.SplitSeq(text, "\n") {
			s.put(s.notes, s.colors.paint(colorQuiet, line))
		}
		return
	}
	s.put(s.notes, s.noteColors.paint(colorQuiet, "sockeye: "+text))
}

// echo shows a line that was typed: it has left the place where lines are typed.
func (s *screen) echo(line string) {
	if s.editing() {
		s.put(s.out, s.colors.paint(colorQuiet, prompt)+harmless(line))
	}
}

// put writes a line above the one that is being typed, if there is one.
func (s *screen) put(w io.Writer, line string) {
	if e := s.ui.Load(); e != nil {
		line = shorten(line)
		if e.print(line) {
			return
		}
	}
	fmt.Fprintln(w, line) // one write
}
