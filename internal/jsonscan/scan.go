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
	ErrCount  = errors.New("jsonscan: too many elements")
)

// Span is the place of a value in a text.
type Span struct {
	Start, End int
}

// Array checks that b is one JSON array and appends the places of its elements to dst. marked tells whether
// an object with the key "_placeholder" occurs. depth bounds the nesting of arrays and objects, the outer one
// included; anything outside 1...MaxDepth means MaxDepth. most bounds the elements; 0 is no bound. Texts must be
// UTF-8.
//
// Differs from encoding/json: invalid UTF-8 is an error.
func Array(dst []Span, b []byte, depth, most int) (elems []Span, marked bool, err error) {
	s := scanner{b: b, limit: bound(depth), most: most}
	s.space()
	if s.i == len(b) || b[s.i] != '[' {
		return dst, false, ErrSyntax
	}
	elems, err = s.run(dst, true)
	return elems, s.marked, err
}

// Value checks that b is one JSON value; like [Array].
func Value(b []byte, depth int) (marked bool, err error) {
	s := scanner{b: b, limit: bound(depth)}
	s.space()
	_, err = s.run(nil, false)
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
	limit  int // of nesting
	most   int // elements that run splits off
	marked bool
}

// run reads one value from s.i, which is not a blank, to the end of the text. With split it appends the places
// of the elements of the outer array to dst.
func (s *scanner) run(dst []Span, split bool) ([]Span, error) {
	var room [64]byte
	stack := room[:0] // '[' or '{' for each open container
	start := 0        // of the element that is being read
	for {
		// A value begins at s.i.
		if s.i == len(s.b) {
			return dst, ErrSyntax
		}
		if len(stack) == 1 {
			start = s.i
		}
		if c := s.b[s.i]; c == '[' || c == '{' {
			if len(stack) == s.limit {
				return dst, ErrDepth
			}
			empty, ok := s.open(c)
			if !ok {
				return dst, ErrSyntax
			}
			if !empty {
				stack = append(stack, c)
				continue
			}
		} else if !s.scalar(c) {
			return dst, ErrSyntax
		}
		// A value ends at s.i.
		for more := false; !more; {
			if len(stack) == 0 {
				return dst, s.end()
			}
			if split && len(stack) == 1 {
				if s.most > 0 && len(dst) == s.most {
					return dst, ErrCount
				}
				dst = append(dst, Span{start, s.i})
			}
			var ok bool
			if more, ok = s.after(stack[len(stack)-1]); !ok {
				return dst, ErrSyntax
			}
			if !more {
				stack = stack[:len(stack)-1]
			}
		}
	}
}

// open reads the beginning of the container c, up to its first value or, if it is empty, its end.
func (s *scanner) open(c byte) (empty, ok bool) {
	s.i++
	s.space()
	if s.i == len(s.b) {
		return false, false
	}
	if s.b[s.i] == c+2 { // ']' is '['+2 and '}' is '{'+2
		s.i++
		return true, true
	}
	return false, c == '[' || s.key()
}

// after reads what follows a value in the container c: more with the next value, or the end of the container.
func (s *scanner) after(c byte) (more, ok bool) {
	s.space()
	if s.i == len(s.b) {
		return false, false
	}
	switch s.b[s.i] {
	case ',':
		s.i++
		s.space()
		return true, c == '[' || s.key()
	case c + 2:
		s.i++
		return false, true
	}
	return false, false
}

func (s *scanner) end() error {
	s.space()
	if s.i < len(s.b) {
		return ErrSyntax
	}
	return nil
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
