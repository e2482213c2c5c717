package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"charm.land/bubbles/v2/progress"
	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"

	"github.com/sockeye-io/sockeye/internal/load"
)

// benchShow shows how a run goes: on a terminal one line with a bar, elsewhere a line a second.
type benchShow struct {
	out      io.Writer // nil: nothing is shown
	duration time.Duration
	echo     bool
	idle     bool
	lines    int

	terminal *os.File // nil where out is none
	bar      progress.Model
	plain    bool // without colors
}

const barWidth = 24

// watch begins to show.
func (o *benchOptions) watch(in invocation) *benchShow {
	s := &benchShow{duration: o.load.Duration, echo: o.load.Scenario == load.Echo, idle: o.load.Scenario == load.Idle}
	if o.quiet {
		return s
	}
	s.out = in.stderr
	if f := asTerminal(in.stderr); f != nil && in.env("TERM") != "dumb" {
		s.terminal, s.plain = f, in.env("NO_COLOR") != ""
		s.bar = progress.New(progress.WithWidth(barWidth), progress.WithColors(lipgloss.Cyan))
		s.bar.EmptyColor = lipgloss.BrightBlack
	}
	return s
}

// progress is load.Options.Progress.
func (s *benchShow) progress(p load.Progress) {
	switch {
	case s.out == nil:
	case s.terminal != nil:
		fmt.Fprint(s.out, "\r"+s.fit(s.drawBar(p)+"  "+s.line(p))+ansi.EraseLineRight)
	default:
		if s.lines++; s.lines%2 == 0 { // it is told twice a second
			fmt.Fprintln(s.out, s.line(p))
		}
	}
}

// drawBar draws how much of the connections is there, or of the time is over.
func (s *benchShow) drawBar(p load.Progress) string {
	name, part := "connecting", float64(p.Opened+p.Failed)/float64(p.Asked)
	if p.Sending {
		name, part = "measuring ", float64(p.Elapsed)/float64(s.duration)
	}
	if p.Done {
		name = "waiting   "
	}
	bar := s.bar.ViewAs(min(part, 1))
	if s.plain {
		bar = ansi.Strip(bar)
	}
	return name + " " + bar
}

// fit cuts a line at the width of the terminal, where it would go on in the next one.
func (s *benchShow) fit(line string) string {
	if width, _, err := term.GetSize(s.terminal.Fd()); err == nil && width > 1 {
		return ansi.Truncate(line, width-1, "")
	}
	return line
}

// end takes the bar away.
func (s *benchShow) end() {
	if s.terminal != nil {
		fmt.Fprint(s.out, "\r"+ansi.EraseLineRight)
	}
}

// line is the live line.
func (s *benchShow) line(p load.Progress) string {
	if !p.Sending {
		line := fmt.Sprintf("%5.1fs  %d of %d connections, %.0f/s", p.Elapsed.Seconds(), p.Opened, p.Asked, p.OpenRate)
		if p.Failed > 0 {
			line += fmt.Sprintf(", %d failed", p.Failed)
		}
		return line
	}
	line := fmt.Sprintf("%5.1fs  %d connections", p.Elapsed.Seconds(), p.Open)
	if s.idle {
		return line
	}
	got := "received"
	if s.echo {
		got = "acknowledged"
	}
	line += fmt.Sprintf(", %.0f/s sent, %.0f/s %s", p.SentRate, p.GotRate, got)
	if l := p.Latency; l.Count > 0 {
		line += fmt.Sprintf(", p50 %s p99 %s max %s", millis(l.P50), millis(l.P99), millis(l.Max))
	}
	return line
}

// millis shows a time in milliseconds.
func millis(ms float64) string {
	switch {
	case ms >= 10_000:
		return fmt.Sprintf("%.1fs", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0fms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1fms", ms)
	}
	return fmt.Sprintf("%.2fms", ms)
}

// printResult prints the final tables.
func printResult(w io.Writer, r *load.Result) error {
	facts := newTable()
	for _, f := range resultFacts(r) {
		facts.Row(f...)
	}
	out := facts.Render() + "\n"
	times := newTable().Headers("latency", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max")
	some := false
	for _, row := range []struct {
		name string
		l    load.Latency
	}{{"to connect", r.Connections.Latency}, {latencyName(r.Scenario), r.Latency}} {
		l := row.l
		if l.Count > 0 {
			some = true
			times.Row(row.name, strconv.FormatInt(l.Count, 10), millis(l.Min), millis(l.Mean), millis(l.P50), millis(l.P90),
				millis(l.P99), millis(l.P999), millis(l.Max))
		}
	}
	if some {
		out += "\n" + times.Render() + "\n"
	}
	_, err := io.WriteString(w, trimLines(out))
	return err
}

func latencyName(s load.Scenario) string {
	if s == load.Fanout {
		return "to receive"
	}
	return "to acknowledge"
}

// resultFacts are the rows of the first table.
func resultFacts(r *load.Result) (rows [][]string) {
	c, e, g := r.Connections, r.Events, r.Generator
	row := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	row("server", "%s, namespace %s, %s, Engine.IO %d", harmless(r.URL), harmless(r.Namespace), r.Transport, r.EngineIO)
	row("connections", "%d of %d opened in %.1f s, %.0f per second", c.Opened, c.Asked, c.Seconds, c.PerSecond)
	switch r.Scenario {
	case load.Idle:
		row("held", "%.1f s", e.Seconds)
	case load.Echo:
		row("sent", "%d events of %d bytes in %.1f s, %.0f per second", e.Sent, r.Payload, e.Seconds, e.PerSecond)
		row("acknowledged", "%d, %.0f per second", e.Acknowledged, e.GotPerSecond)
	case load.Fanout:
		where := "to all others"
		if r.Rooms > 0 {
			where = "to " + counted(r.Rooms, "room", "rooms")
		}
		row("sent", "%d events of %d bytes in %.1f s, %.1f per second, %s", e.Sent, r.Payload, e.Seconds, e.PerSecond, where)
		row("received", "%d, %.0f per second", e.Received, e.GotPerSecond)
	}
	row("generator", "%s, %.1f s of CPU, %.0f%% of %s, %.1f MB at most", counted(g.Processes, "process", "processes"), g.CPUSeconds,
		100*g.CPUShare, counted(g.CPUs, "CPU", "CPUs"), float64(g.PeakBytes)/1e6)
	if r.Interrupted {
		row("interrupted", "these are the figures until then")
	}
	return rows
}

// newTable is one of plain text, numbers at the right.
func newTable() *table.Table {
	return table.New().Border(lipgloss.HiddenBorder()).Wrap(false).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderHeader(false).
		StyleFunc(func(_, column int) lipgloss.Style {
			style := lipgloss.NewStyle().PaddingRight(1)
			if column > 0 {
				style = style.AlignHorizontal(lipgloss.Left)
			}
			return style
		})
}

// trimLines takes the blanks away that tables have at the end of lines.
func trimLines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}
