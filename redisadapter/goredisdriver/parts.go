package goredisdriver

import "github.com/sockeye-io/sockeye/internal/redisproto"

// parts are topics by link, kind and, in a cluster, slot: what may be in one command.
type parts struct {
	sharded bool
	of      map[part][]string
	order   []part
}

type part struct {
	l    *link
	kind byte
	slot int
}

func newParts(sharded bool) *parts { return &parts{sharded: sharded, of: map[part][]string{}} }

func (p *parts) add(l *link, k key) {
	at := part{l: l, kind: k.kind}
	if p.sharded && k.kind == shardKind {
		at.slot = redisproto.Slot(k.name)
	}
	if _, ok := p.of[at]; !ok {
		p.order = append(p.order, at)
	}
	p.of[at] = append(p.of[at], k.name)
}

func (p *parts) each(f func(l *link, kind byte, names []string)) {
	for _, at := range p.order {
		for names := p.of[at]; len(names) > 0; {
			n := min(len(names), chunk)
			f(at.l, at.kind, names[:n:n])
			names = names[n:]
		}
	}
}
