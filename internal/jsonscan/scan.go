// Package jsonscan checks JSON text in one pass and finds in it what a Socket.IO decoder needs: the elements
// of the outer array and the placeholders of attachments. It needs no recursion and its time is linear.
//
// Not in this package: making Go values of JSON.
package jsonscan

import "errors"

// MaxDepth is the deepest nesting that is ever accepted, which is that of encoding/json.
const MaxDepth = 10_000

// Errors of [Array] and [Value].
var (
	ErrSyntax = errors.New("jsonscan: invalid JSON")
	ErrDepth  = errors.New("jsonscan: nested too deeply")
)

// Span is the place of a value in a text.
type Span struct {
	Start, End int
}

// Array checks that b is one JSON array and appends the places of its elements to dst. marked tells whether
// an object with the key "_placeholder" occurs. depth bounds the nesting of arrays and objects, the outer one
// included; anything outside 1...MaxDepth means MaxDepth. Texts must be UTF-8.
//
// Differs from encoding/json: invalid UTF-8 is an error.
func Array(dst []Span, b []byte, depth int) (elems []Span, marked bool, err error) {
	s := scanner{b: b, limit: bound(depth), elems: dst}
	s.space()
	if s.i == len(b) || b[s.i] != '[' {
		return dst, false, ErrSyntax
	}
	s.split = true
	err = s.run()
	return s.elems, s.marked, err
}

// Value checks that b is one JSON value; like [Array].
func Value(b []byte, depth int) (marked bool, err error) {
	s := scanner{b: b, limit: bound(depth)}
	s.space()
	err = s.run()
	return s.marked, err
}

func bound(depth int) int {
	if depth < 1 || depth > MaxDepth {
		return MaxDepth
	}
	return depth
}

type scanner struct {
	b      []byte
	i      int
	limit  int
	split  bool // note the elements of the outer array
	marked bool
	elems  []Span
	start  int // of the element that is being read
}

// run reads one value from s.i, which is not a blank, to the end of the text.
func (s *scanner) run() error {
	var room [64]byte
	stack := room[:0] // '[' or '{' for each open container
	for {
		// A value begins at s.i.
		if s.i == len(s.b) {
			return ErrSyntax
		}
		if len(stack) == 1 {
			s.start = s.i
		}
		if c := s.b[s.i]; c == '[' || c == '{' {
			if len(stack) == s.limit {
				return ErrDepth
			}
			stack = append(stack, c)
			s.i++
			s.space()
			if s.i == len(s.b) {
				return ErrSyntax
			}
			if s.b[s.i] != c+2 { // ']' is '['+2 and '}' is '{'+2
				if c == '{' && !s.key() {
					return ErrSyntax
				}
				continue
			}
			s.i++
			stack = stack[:len(stack)-1]
		} else if !s.scalar(c) {
			return ErrSyntax
		}
		var err error
		if stack, err = s.after(stack); err != nil {
			return err
		}
		if len(stack) == 0 {
			return nil
		}
	}
}

// after reads what may follow a value, up to the next one, or to the end of the text if no container is open.
func (s *scanner) after(stack []byte) ([]byte, error) {
	for len(stack) > 0 {
		if s.split && len(stack) == 1 {
			s.elems = append(s.elems, Span{s.start, s.i})
		}
		s.space()
		if s.i == len(s.b) {
			return nil, ErrSyntax
		}
		top := stack[len(stack)-1]
		switch c := s.b[s.i]; {
		case c == ',':
			s.i++
			s.space()
			if top == '{' && !s.key() {
				return nil, ErrSyntax
			}
			return stack, nil
		case c == top+2:
			s.i++
			stack = stack[:len(stack)-1]
		default:
			return nil, ErrSyntax
		}
	}
	s.space()
	if s.i < len(s.b) {
		return nil, ErrSyntax
	}
	return stack, nil
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// key reads a key, its colon and the blanks around.
func (s *scanner) key() bool {
	if s.i == len(s.b) || s.b[s.i] != '"' {
		return false
	}
	end, ok := stringEnd(s.b, s.i)
	if !ok {
		return false
	}
	if !s.marked && keyIs(s.b[s.i:end], placeholderKey) {
		s.marked = true
	}
	s.i = end
	s.space()
	if s.i == len(s.b) || s.b[s.i] != ':' {
		return false
	}
	s.i++
	s.space()
	return true
}

// scalar reads a string, a number or a literal that begins with c.
func (s *scanner) scalar(c byte) bool {
	switch c {
	case '"':
		end, ok := stringEnd(s.b, s.i)
		s.i = end
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) literal(l string) bool {
	if len(s.b)-s.i < len(l) || string(s.b[s.i:s.i+len(l)]) != l {
		return false
	}
	s.i += len(l)
	return true
}

func (s *scanner) number() bool {
	b, i := s.b, s.i
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i == len(b):
		return false
	case b[i] == '0':
		i++
	default:
		j := digits(b, i)
		if j == i {
			return false
		}
		i = j
	}
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			return false
		}
		i = j
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := digits(b, i)
		if j == i {
			return false
		}
		i = j
	}
	s.i = i
	return true
}

func digits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}
