package adapter

import "slices"

// maxServers bounds the servers that one request keeps apart. Answers of further ones are ignored.
const maxServers = 4096

// tally keeps the account of one request: which servers must answer, which have, and which are gone.
type tally struct {
	known   bool   // others and counted are
	others  int    // servers that must be heard beside those that may be named
	counted int    // servers that may be named, as far as they were counted; which of them they are is not known
	again   [2]int // the last recounts: of counted, those that are not named and perhaps not heard
	recount int    // how many there were
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
	ours             bool // it is known to be one that may be named
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
	t.known, t.others, t.counted = true, max(total-t.sum().named, 0), 0
}

// audience tells how many servers must be heard: others that are never named, and counted that may be.
func (t *tally) audience(others, counted int) {
	t.known, t.others, t.counted = true, max(others, 0), max(counted, 0)
}

// recounted tells how many of those that may be named there are now, and which of them are known.
func (t *tally) recounted(counted int, live, silent []string) {
	n := counted - len(live)
	for _, id := range silent {
		if s := t.servers[id]; s != nil && s.named {
			n--
		}
	}
	n = max(n, 0)
	for _, id := range live {
		s := t.servers[id]
		if s == nil || !s.named && !s.heard {
			n++
		}
		if s != nil {
			s.ours = true
		}
	}
	t.again[t.recount%len(t.again)] = n
	t.recount++
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
	a := t.sum()
	n := a.unheard
	if !gone {
		n = a.awaited
	}
	return max(n+max(t.unnamed(a)-a.unnamed, 0)-t.unknown, 0)
}

// unnamed counts the servers beside those that are named that must be heard. One that was named, and has closed in order
// before it was heard, may have hidden one that was counted and is not known yet. If it was counted itself, nobody
// is to be waited for in its place: that shows when they are counted again. Only what two recounts agree in is
// believed: one that closes is not counted any more shortly before it is known.
func (t *tally) unnamed(a account) int {
	n := t.others + max(t.counted-(a.named-a.excused), 0)
	if t.recount >= len(t.again) {
		n = min(n, a.unnamed+max(t.others-a.strange, 0)+max(t.again[0], t.again[1]))
	}
	return n
}

// doubtful tells whether servers are waited for of whom only their number is known and which may have closed, and whether
// nobody is by name.
func (t *tally) doubtful() bool {
	a := t.sum()
	strangers := max(a.awaited+max(t.others-a.strange, 0)-t.unknown, 0)
	return t.known && a.awaited <= t.unknown && t.short(false) > strangers
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

// account is a sum over the servers that have an id.
type account struct {
	named   int // all that are
	excused int // those of them that were not heard, and are excused
	unheard int // those of them that were not heard, and are not
	awaited int // the same, but those that are gone
	unnamed int // heard, but not named
	strange int // those of them that are not known to be such as may be named
}

func (t *tally) sum() (a account) {
	for _, s := range t.servers {
		switch {
		case !s.named:
			if s.heard {
				a.unnamed++
				if !s.ours {
					a.strange++
				}
			}
			continue
		case s.heard:
		case s.excused:
			a.excused++
		default:
			a.unheard++
			if !s.gone {
				a.awaited++
			}
		}
		a.named++
	}
	return a
}
