package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/parser"
)

const (
	shownBytes = 32     // of binary, in words
	shownRunes = 10_000 // of a line on a terminal
)

// Colors, for terminals that want them.
const (
	colorOff   = "\x1b[0m"
	colorName  = "\x1b[36m"
	colorAck   = "\x1b[32m"
	colorQuiet = "\x1b[2m"
)

// painter colors texts, or not.
type painter bool

func (p painter) paint(color, s string) string {
	if !p || s == "" {
		return s
	}
	return color + s + colorOff
}

// record is one line of --json.
type record struct {
	Type      string `json:"type"`
	ID        string `json:"id,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Recovered *bool  `json:"recovered,omitempty"`

	Sent  int    `json:"sent,omitempty"`
	Event string `json:"event,omitempty"`
	Args  *[]any `json:"args,omitempty"`
	Reply int    `json:"reply,omitempty"`

	Reason  string `json:"reason,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Error   string `json:"error,omitempty"`
}

// line is the record as JSON.
func (r record) line() string { return asJSON(r) }

func asJSON(v any) string {
	var b bytes.Buffer
	writeJSON(&b, v)
	return strings.TrimSuffix(b.String(), "\n")
}

// jsonArgs gives arguments as they are put into JSON.
func jsonArgs(args []parser.Arg) *[]any {
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = shown(a)
	}
	return &list
}

// plainName is the name of an event as it would be typed.
func plainName(name string) string {
	if word, rest := cutWord(name); name == "" || rest != "" || word != name || name[0] == '"' || !legible(name) {
		return quoted(name)
	}
	return name
}

// plainArgs gives arguments as they would be typed: one text as it is if it cannot be taken for something else.
func plainArgs(args []parser.Arg) string {
	if len(args) == 1 {
		var s *string
		if args[0].Scan(&s) == nil && s != nil && legible(*s) {
			if _, ok := jsonValues(*s); !ok {
				return *s
			}
		}
	}
	all := make([]string, len(args))
	for i, a := range args {
		all[i] = plainArg(a)
	}
	return strings.Join(all, " ")
}

// legible tells whether a text is on one line and does nothing to a terminal.
func legible(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, harmful) && strings.TrimSpace(s) == s
}

// plainArg is an argument as JSON, with bytes as <3 bytes 0a0b0c>.
func plainArg(a parser.Arg) string {
	if !a.HasBinary() {
		return asJSON(shown(a))
	}
	v, err := a.Any()
	if err != nil {
		return "<" + harmless(err.Error()) + ">"
	}
	var b strings.Builder
	plainValue(&b, v)
	return b.String()
}

func plainValue(b *strings.Builder, v any) {
	switch v := v.(type) {
	case []byte:
		b.WriteString(hexBytes(v))
	case []any:
		b.WriteByte('[')
		for i, x := range v {
			comma(b, i)
			plainValue(b, x)
		}
		b.WriteByte(']')
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b.WriteByte('{')
		for i, k := range keys {
			comma(b, i)
			b.WriteString(quoted(k) + ":")
			plainValue(b, v[k])
		}
		b.WriteByte('}')
	default:
		b.WriteString(asJSON(v))
	}
}

func comma(b *strings.Builder, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

// hexBytes shows the length and the first bytes of binary.
func hexBytes(v []byte) string {
	s := "<" + bytesOf(len(v))
	if len(v) > 0 {
		s += " " + hex.EncodeToString(v[:min(len(v), shownBytes)])
	}
	if len(v) > shownBytes {
		s += "..."
	}
	return s + ">"
}

// shorten cuts a line that is too long for a terminal.
func shorten(s string) string {
	n := utf8.RuneCountInString(s)
	if n <= shownRunes {
		return s
	}
	return fmt.Sprintf("%s... (%d of %d characters)", string([]rune(s)[:shownRunes]), shownRunes, n)
}

// plainAck is a line that shows an acknowledgement.
func (p painter) plainAck(n int, r client.Reply) string {
	return strings.TrimSpace(p.paint(colorAck, "ack #"+strconv.Itoa(n)) + " " + plainArgs(r.Args()))
}
