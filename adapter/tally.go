package adapter

import "slices"

// maxServers bounds the servers that one request keeps apart. Answers of further ones are ignored.
const maxServers = 4096

// tally keeps the account of one request: which servers must answer, which have, and which are gone.
type tally struct {
	known   bool // others is
	others  int  // servers that must be heard beside those that are named
	servers map[string]*server
	unknown int // servers heard that did not say who they are
	heard   int // servers heard, all together

	sockets  int // answers of sockets to come
	answers  int // answers of sockets that came
	forgiven int // sockets of servers that are gone, which will not answer
}

// server is what a tally knows of one server that has an id.
type server struct {
	named, heard     bool
	gone             bool // nothing more comes
	excused          bool // likewise, and nothing is missing but what its sockets were asked for
	sockets, answers int
}

// of finds or makes the account of a server; nil if there are too many.
func (t *tally) of(id string) *server {
	s := t.servers[id]
	if s == nil && len(t.servers) < maxServers {
		if t.servers == nil {
			t.servers = map[string]*server{}
		}
		s = &server{}
		t.servers[id] = s
	}
	return s
}

// name tells that a server must be heard.
func (t *tally) name(id string) {
	if s := t.of(id); s != nil {
		s.named = true
	}
}

// expect tells how many servers must be heard, the named ones included.
func (t *tally) expect(total int) {
	named, _, _ := t.named()
	t.known, t.others = true, max(total-named, 0)
}

// hear counts a server, which asked so many sockets. It is false for one that was heard before.
func (t *tally) hear(id string, sockets int) bool {
	if id == "" {
		t.unknown++
	} else {
		s := t.of(id)
		if s == nil || s.heard {
			return false
		}
		s.heard, s.gone, s.excused, s.sockets = true, false, false, sockets
	}
	t.heard++
	t.sockets += sockets
	return true
}

// answered counts an answer of a socket.
func (t *tally) answered(id string) {
	t.answers++
	if id == "" {
		return
	}
	if s := t.of(id); s != nil {
		s.answers++
		if s.gone && s.heard && s.answers <= s.sockets {
			t.forgiven-- // it came after all
		}
	}
}

// leave tells that nothing more will come from a server. It is excused where it has closed in order.
func (t *tally) leave(id string, excused bool) {
	s := t.servers[id]
	if s == nil || s.gone {
		return
	}
	s.gone, s.excused = true, excused
	if s.heard {
		t.forgiven += max(s.sockets-s.answers, 0)
	}
}

// short counts the servers that have not been heard. Those that left without a word are among them if gone is true.
// A server that did not say who it is may be any of them.
func (t *tally) short(gone bool) int {
	named, others := 0, t.others
	for _, s := range t.servers {
		switch {
		case s.named && !s.heard && (gone || !s.gone) && !s.excused:
			named++
		case !s.named && s.heard:
			others--
		}
	}
	return max(named+max(others, 0)-t.unknown, 0)
}

// missing gives the ids of the servers whose answers are not complete and that are known: those that were not heard, and
// those that left before their sockets had answered.
func (t *tally) missing() []string {
	var ids []string
	for id, s := range t.servers {
		if s.named && !s.heard && !s.excused || s.heard && s.gone && s.answers < s.sockets {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// named counts the named servers, and those of them that were not heard and that are, or are not, excused.
func (t *tally) named() (all, excused, unheard int) {
	for _, s := range t.servers {
		if !s.named {
			continue
		}
		all++
		switch {
		case s.heard:
		case s.excused:
			excused++
		default:
			unheard++
		}
	}
	return all, excused, unheard
}
