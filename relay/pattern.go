package relay

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is the pattern of the names of rooms in a rule. "*" stands for any run of characters, also none; "{user}" and
// "{claim}" for what must be the id of the user, or one of the values of that claim.
type pattern struct {
	parts []part
}

// part is a run of characters that must be there, or what stands for others.
type part struct {
	text string
	any  bool   // "*"
	name string // of a claim, or "user"
}

const (
	maxPattern = 512 // bytes
	maxParts   = 16
)

func parsePattern(s string) (pattern, error) {
	if s == "" || len(s) > maxPattern {
		return pattern{}, errors.New("a pattern has 1 to 512 bytes")
	}
	var p pattern
	for rest := s; rest != ""; {
		i := strings.IndexAny(rest, "*{}")
		switch {
		case i < 0:
			p.parts, rest = append(p.parts, part{text: rest}), ""
			continue
		case i > 0:
			p.parts, rest = append(p.parts, part{text: rest[:i]}), rest[i:]
		}
		switch rest[0] {
		case '*':
			p.parts, rest = append(p.parts, part{any: true}), strings.TrimLeft(rest, "*")
		case '{':
			name, after, ok := strings.Cut(rest[1:], "}")
			if !ok || name == "" || strings.ContainsAny(name, "*{") {
				return pattern{}, errors.New(`"{" must begin the name of a claim that ends with "}"`)
			}
			p.parts, rest = append(p.parts, part{name: name}), after
		default:
			return pattern{}, errors.New(`"}" without "{"`)
		}
	}
	if len(p.parts) > maxParts {
		return pattern{}, fmt.Errorf("a pattern has at most %d parts", maxParts)
	}
	return p, nil
}

// matchGlob tells whether "*" in glob can stand for what makes it room. It goes back to the last "*" only.
func matchGlob(glob, room string) bool {
	g, r, star, from := 0, 0, -1, 0
	for r < len(room) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, r
			g++
		case g < len(glob) && glob[g] == room[r]:
			g++
			r++
		case star >= 0:
			from++
			g, r = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}

// places is a set of places in a room's name, whose longest has maxRoom bytes.
type places [maxRoom/64 + 1]uint64

func (p *places) add(i int)      { p[i/64] |= 1 << (i % 64) }
func (p *places) has(i int) bool { return p[i/64]&(1<<(i%64)) != 0 }

// match tells whether the pattern is one of room. values gives what a name in braces may stand for; where it is nil that is
// any run of characters. It takes time in proportion to the room, the parts, and the values.
func (p pattern) match(room string, values func(name string) []string) bool {
	if len(room) > maxRoom {
		return false
	}
	var at places
	at.add(0)
	for _, part := range p.parts {
		var next places
		switch {
		case part.text != "":
			at.step(&next, room, part.text)
		case part.any, values == nil:
			at.spread(&next, len(room))
		default:
			for _, v := range values(part.name) {
				if v != "" {
					at.step(&next, room, v)
				}
			}
		}
		at = next
	}
	return at.has(len(room))
}

// spread goes on by any run of characters, from the first place on.
func (p *places) spread(next *places, end int) {
	for i := range end + 1 {
		if p.has(i) {
			for j := i; j <= end; j++ {
				next.add(j)
			}
			return
		}
	}
}

// step goes on by a text.
func (p *places) step(next *places, room, text string) {
	for i := 0; i+len(text) <= len(room); i++ {
		if p.has(i) && room[i:i+len(text)] == text {
			next.add(i + len(text))
		}
	}
}
