package jsonscan

const (
	placeholderKey = "_placeholder"
	numKey         = "num"
)

// Placeholder is the place of an object that stands for an attachment.
type Placeholder struct {
	Span
	Num int // index of the attachment; -1 where it is not a number written in at most nine plain digits
}

// Placeholders appends the placeholders in b, which must be valid JSON, to dst, in the order of the text. A
// placeholder is an object whose last "_placeholder" is true; what it contains besides is not looked at.
//
// Protocol: socket.io v5, "Packet encoding"
func Placeholders(dst []Placeholder, b []byte) []Placeholder {
	var room [16]frame
	stack := append(room[:0], frame{}) // a pretended array around the text
	for i := 0; i < len(b); {
		top := &stack[len(stack)-1]
		switch c := b[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '{', '[':
			top.set(nil)
			stack = append(stack, frame{start: i, object: c == '{', inKey: c == '{', found: len(dst), num: -1})
			i++
		case '}', ']':
			i++
			if top.mark {
				dst = append(dst[:top.found], Placeholder{Span{top.start, i}, top.num})
			}
			stack = stack[:len(stack)-1]
		case ',':
			top.inKey = top.object
			i++
		case ':':
			top.inKey = false
			i++
		default:
			end := ScalarEnd(b, i)
			if top.inKey {
				top.setKey(b[i:end])
			} else {
				top.set(b[i:end])
			}
			i = end
		}
	}
	return dst
}

// frame is an open container.
type frame struct {
	start  int
	found  int // how many placeholders had been found when it began
	num    int
	key    string // the last key, if it is one of ours
	object bool
	inKey  bool // a key is next
	mark   bool
}

func (f *frame) setKey(lit []byte) {
	switch {
	case keyIs(lit, placeholderKey):
		f.key = placeholderKey
	case keyIs(lit, numKey):
		f.key = numKey
	default:
		f.key = ""
	}
}

// set notes the value of the last key; nil is a container.
func (f *frame) set(lit []byte) {
	switch f.key {
	case placeholderKey:
		f.mark = string(lit) == "true"
	case numKey:
		f.num = index(lit)
	}
	f.key = ""
}

func index(lit []byte) int {
	if len(lit) == 0 || len(lit) > 9 {
		return -1
	}
	n := 0
	for _, c := range lit {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// ScalarEnd gives the end of the string, number or literal at b[i] in valid JSON.
func ScalarEnd(b []byte, i int) int {
	if b[i] == '"' {
		end, _ := stringEnd(b, i) // b is valid
		return end
	}
	for i < len(b) {
		switch b[i] {
		case ' ', '\t', '\r', '\n', ',', ']', '}':
			return i
		}
		i++
	}
	return i
}
