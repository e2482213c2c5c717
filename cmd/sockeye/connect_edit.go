package main

import (
	"os"
	"slices"
	"strings"
	"sync"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	prompt      = "> "
	maxTyped    = 1 << 20 // characters of a line
	maxUnheeded = 4096    // lines that are typed, or pasted, faster than they can be sent
)

// editor reads lines on a terminal, and prints above the one that is being typed. It implements source.
type editor struct {
	program   *tea.Program
	out       chan string
	screen    *display
	finished  chan struct{} // closed when the terminal is as before
	interrupt func()        // told of Ctrl-C
	past      *history
	why       error // of the program; set before finished is closed

	// The following is used by the program alone, which is one goroutine.
	input  textinput.Model
	colors painter
	width  int
	at     int    // index in past; len = the line that is new
	fresh  string // that line, while a former one is shown
	wanted string // what Ctrl-R looks for
	ended  bool
}

// display is a terminal that tells when the line has been drawn: what the library prints before that it puts at the top
// of the screen.
type display struct {
	*os.File

	once  sync.Once
	drawn chan struct{}
}

// Write implements io.Writer.
func (d *display) Write(b []byte) (int, error) { return d.WriteString(string(b)) }

// WriteString implements io.StringWriter.
func (d *display) WriteString(s string) (int, error) {
	n, err := d.File.WriteString(s)
	if strings.Contains(strings.ReplaceAll(s, "[>", ""), prompt[:1]) { // not as a part of an escape sequence
		d.once.Do(func() { close(d.drawn) })
	}
	return n, err
}

// printed is a line on its way to the terminal.
type printed struct {
	text  string
	taken chan struct{} // closed when it will be there
}

func newEditor(stdin, stdout *os.File, past *history, colors painter, interrupt func()) *editor {
	e := &editor{
		out: make(chan string, maxUnheeded), finished: make(chan struct{}), interrupt: interrupt,
		past: past, at: len(past.all), colors: colors, input: textinput.New(), width: 80,
		screen: &display{File: stdout, drawn: make(chan struct{})},
	}
	e.input.Prompt = ""
	e.input.CharLimit = maxTyped
	e.input.KeyMap.Paste = key.NewBinding() // the terminal does that
	e.input.Focus()
	e.program = tea.NewProgram(model{e}, tea.WithInput(stdin), tea.WithOutput(e.screen), tea.WithoutSignalHandler(),
		tea.WithFilter(func(_ tea.Model, m tea.Msg) tea.Msg { return e.filter(m) }))
	return e
}

func (e *editor) start() { go e.run() } // ends by close, or with the input; close waits for it

// run has the terminal until the input ends.
func (e *editor) run() {
	defer close(e.finished)
	_, e.why = e.program.Run()
	if !e.ended {
		close(e.out)
	}
	e.past.close()
}

func (e *editor) lines() <-chan string { return e.out }

func (e *editor) err() error {
	select {
	case <-e.finished:
		return e.why
	default:
		return nil
	}
}

func (e *editor) close() {
	e.program.Quit()
	<-e.finished
}

// print writes a line above the one that is being typed. It is false when the editor has ended.
func (e *editor) print(text string) bool {
	select {
	case <-e.screen.drawn:
	case <-e.finished:
		return false
	}
	p := printed{text, make(chan struct{})}
	e.program.Send(p)
	select {
	case <-p.taken:
		return true
	case <-e.finished:
	}
	select {
	case <-p.taken:
		return true
	default:
		return false
	}
}

// filter turns what print sends into what the library prints; it sees everything in its order.
func (e *editor) filter(m tea.Msg) tea.Msg {
	p, ok := m.(printed)
	if !ok {
		return m
	}
	close(p.taken)
	// The library takes a line that ends with the last column for one that goes on in the next row.
	if w := ansi.StringWidth(p.text); w > e.width && w%e.width == 0 {
		p.text += " "
	}
	return tea.Println(p.text)()
}

// model is the editor as the library wants it.
type model struct{ e *editor }

// Init implements tea.Model.
func (m model) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if m.e.ended {
		return m, nil
	}
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.e.width = max(msg.Width, len(prompt)+2)
	case tea.PasteMsg:
		m.e.paste(msg.Content)
	case tea.KeyPressMsg:
		return m, m.e.press(msg)
	}
	return m, nil
}

// press is a key.
func (e *editor) press(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	if name != "ctrl+r" {
		e.wanted = ""
	}
	switch name {
	case "enter", "ctrl+j":
		e.submit()
	case "ctrl+c":
		if e.input.Value() == "" {
			e.interrupt()
			return e.finish()
		}
		e.fill("")
		e.at = len(e.past.all)
	case "ctrl+d":
		if e.input.Value() == "" {
			return e.finish()
		}
		e.edit(k)
	case "ctrl+z":
		return tea.Suspend
	case "ctrl+l":
		return tea.ClearScreen
	case "up", "ctrl+p":
		e.show(e.at - 1)
	case "down", "ctrl+n":
		e.show(e.at + 1)
	case "ctrl+r":
		e.search()
	default:
		e.edit(k)
	}
	return nil
}

func (e *editor) edit(m tea.Msg) { e.input, _ = e.input.Update(m) }

func (e *editor) fill(line string) {
	e.input.SetValue(line)
	e.input.CursorEnd()
}

// finish ends the input.
func (e *editor) finish() tea.Cmd {
	if !e.ended {
		e.ended = true
		close(e.out)
	}
	return tea.Quit
}

// submit takes the line.
func (e *editor) submit() {
	line := e.input.Value()
	e.fill("")
	if line != "" {
		e.past.add(line)
		select {
		case e.out <- line:
		default: // so many are waiting that this one stays where it can be sent again
			e.fill(line)
		}
	}
	e.at, e.fresh = len(e.past.all), ""
}

// paste inserts a text; each of its lines but the last is taken.
func (e *editor) paste(text string) {
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for i, l := range lines {
		e.edit(tea.PasteMsg{Content: l})
		if i < len(lines)-1 {
			e.submit()
		}
	}
}

// show brings back a former line.
func (e *editor) show(i int) {
	if i < 0 || i > len(e.past.all) {
		return
	}
	if e.at == len(e.past.all) {
		e.fresh = e.input.Value()
	}
	e.at = i
	if i == len(e.past.all) {
		e.fill(e.fresh)
		return
	}
	e.fill(e.past.all[i])
}

// search brings back the last line before the shown one that has what was typed.
func (e *editor) search() {
	if e.wanted == "" {
		if e.wanted = e.input.Value(); e.wanted == "" {
			return
		}
	}
	for i, line := range slices.Backward(e.past.all[:e.at]) {
		if strings.Contains(line, e.wanted) && line != e.input.Value() {
			e.show(i)
			return
		}
	}
}

// View implements tea.Model: as much of the line as there is room for, with the cursor.
func (m model) View() tea.View {
	if m.e.ended {
		return tea.NewView("")
	}
	line, at := []rune(m.e.input.Value()), m.e.input.Position()
	room := m.e.width - len(prompt) - 1 // the last column is for the cursor
	from, x := at, 0
	for ; from > 0; from-- {
		w := ansi.StringWidth(string(line[from-1]))
		if x+w > room {
			break
		}
		x += w
	}
	end, w := at, x
	for ; end < len(line); end++ {
		if w += ansi.StringWidth(string(line[end])); w > room {
			break
		}
	}
	v := tea.NewView(m.e.colors.paint(colorQuiet, prompt) + string(line[from:end]))
	v.Cursor = tea.NewCursor(len(prompt)+x, 0)
	v.Cursor.Blink = false
	return v
}
