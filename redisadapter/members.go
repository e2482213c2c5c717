package redisadapter

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

const (
	beatInterval = time.Second

	// A server is taken for gone when that many heartbeats of this one came back since its last: after 3 to 4 s. Time is not
	// measured by a clock, so that neither a Redis nor a server that stood still makes others disappear.
	maxSilence = 4

	forgetAfter = 60   // the same, until a server that is silent is forgotten
	doubtAfter  = 10   // the same, until what a server told is doubted
	maxPeers    = 1024 // servers that are known; further ones are counted as those that do not announce themselves
)

// members knows the other servers of this implementation, and which of the namespaces of this one they have open. Each
// server tells its heartbeat on one channel, and there too, merged, which namespaces it opens and closes; those who
// have them open answer once. Heartbeats carry the number of the last such change, so that who missed one asks again. So
// the number of messages does not depend on the number of namespaces, and losing some does no lasting harm.
//
// What is said here goes past the queue of the publisher, which may be full when it matters.
type members struct {
	b        *bus
	l        *listener
	id       string // of this server, whatever the namespace
	channels rediswire.ControlChannels

	wake   chan struct{} // holds one token when there is news
	cancel func()        // nil before start
	ended  chan struct{}

	mu     sync.Mutex
	own    map[string]*membership // open namespaces, by name
	peers  map[string]*peer       // by id
	sent   uint64                 // heartbeats
	beats  uint64                 // heartbeats that came back
	serial uint64                 // of the last change that was told
	news   news
}

// news is what is to be told.
type news struct {
	open   map[string]struct{} // namespaces, by name
	closed []rediswire.ControlMember
	behind map[*peer]struct{}            // those of whom something was missed
	asked  map[*peer]map[string]struct{} // those who asked, and for which namespaces
	all    map[*peer]struct{}            // those of them who asked since they had missed something
}

// peer is another server.
type peer struct {
	id     string
	heard  uint64            // members.beats when it was last heard
	silent bool              // it is taken for gone
	serial uint64            // of its last change that is known
	behind bool              // one before that is not, or what is known may be wrong
	synced uint64            // members.beats when it told everything
	uids   map[string]string // of the namespaces that are open here too, by name
}

// announce makes this server tell the others of itself, on channels whose names begin with key and "-sockeye#". It is to be
// called before the first namespace is opened.
func (b *bus) announce(key string) {
	id := adapter.NewID() + adapter.NewID() + adapter.NewID()
	m := &members{
		b: b, l: b.listener(nil, nil), id: id, channels: rediswire.NewControlChannels(key, id),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		own: map[string]*membership{}, peers: map[string]*peer{}, news: newNews(),
	}
	m.l.add(m.receive, m.channels.Common, m.channels.Own)
	b.members = m
}

// receive handles what came on any of the channels.
func (m *members) receive(_, payload string) {
	c, err := rediswire.ParseControl([]byte(payload))
	switch {
	case errors.Is(err, rediswire.ErrControlVersion):
		m.b.count.unknown.Add(1)
	case err != nil:
		m.l.malformed(faultControl, err)
	case c.Server == m.id:
		if c.Kind == rediswire.ControlAlive {
			m.tellGone(m.returned())
		}
	case c.Kind >= rediswire.ControlAsk:
		m.talk(&c)
	default:
		m.tellGone(m.learn(&c))
		m.signal()
	}
}

// left is a member that a namespace has lost.
type left struct {
	s       *membership
	uid     string
	inOrder bool // it has closed
}

func (m *members) tellGone(list []left) {
	for _, g := range list {
		g.s.lost(g.uid, g.inOrder)
	}
}

// returned counts a heartbeat of this server that came back, and gives those who were not heard for too long.
func (m *members) returned() (gone []left) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.beats >= m.sent {
		return nil // not from here
	}
	m.beats++
	for id, p := range m.peers {
		switch silence := m.beats - p.heard; {
		case silence >= forgetAfter:
			gone = append(gone, m.forget(id, false)...)
		case silence >= maxSilence && !p.silent:
			p.silent = true
			gone = append(gone, m.membersOf(p, false)...)
		}
	}
	return gone
}

// learn takes what another server tells of itself, and gives who is gone by it.
func (m *members) learn(c *rediswire.Control) (gone []left) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Kind == rediswire.ControlLeave {
		return m.forget(c.Server, true)
	}
	p, fresh := m.heard(c.Server)
	if p == nil {
		return nil
	}
	switch c.Kind {
	case rediswire.ControlAlive:
		if p.behind || c.Serial > p.serial {
			p.behind = true
			m.news.behind[p] = struct{}{}
		}
	case rediswire.ControlHello:
		if !c.All {
			p.advance(c.Serial)
		} else if fresh {
			p.serial = c.Serial // it tells everything
		}
		gone = m.met(p, c)
		m.asks(p, c)
	case rediswire.ControlHere:
		if c.All || fresh { // a server that was here first misses nothing of what this one opens
			p.serial, p.behind, p.synced = c.Serial, false, m.beats
		}
		gone = m.met(p, c)
	case rediswire.ControlBye:
		p.advance(c.Serial)
		for _, x := range c.Members {
			if x.UID == p.uids[x.Namespace] {
				gone = append(gone, m.part(p, x.Namespace)...)
			}
		}
	default:
	}
	return gone
}

// advance notes the number of a change, and whether one before was missed.
func (p *peer) advance(serial uint64) {
	if serial > p.serial+1 {
		p.behind = true
	}
	p.serial = max(p.serial, serial)
}

// heard finds or makes a peer; nil if there are too many.
func (m *members) heard(id string) (p *peer, fresh bool) {
	if p = m.peers[id]; p == nil {
		if len(m.peers) >= maxPeers && !m.evict() {
			return nil, false
		}
		p, fresh = &peer{id: id, uids: map[string]string{}}, true
		m.peers[id] = p
	}
	p.heard, p.silent = m.beats, false
	return p, fresh
}

// evict forgets a server that is silent.
func (m *members) evict() bool {
	for id, p := range m.peers {
		if p.silent {
			m.forget(id, false) // that its members are gone was told when it fell silent
			return true
		}
	}
	return false
}

// met takes the namespaces that another server says to have open, as far as they are open here.
func (m *members) met(p *peer, c *rediswire.Control) (gone []left) {
	for _, x := range c.Members {
		s := m.own[x.Namespace]
		if s == nil || x.UID == p.uids[x.Namespace] || x.UID == s.uid || s.members[x.UID] != nil {
			continue
		}
		gone = append(gone, m.part(p, x.Namespace)...)
		if x.UID != "" {
			p.uids[s.name], s.members[x.UID] = x.UID, p
		}
	}
	return gone
}

// asks notes what another server wants to know.
func (m *members) asks(p *peer, c *rediswire.Control) {
	for _, x := range c.Members {
		if c.All || m.own[x.Namespace] != nil {
			m.answer(p)[x.Namespace] = struct{}{}
		}
	}
	if c.All {
		m.answer(p)
		m.news.all[p] = struct{}{}
	}
}

func (m *members) answer(p *peer) map[string]struct{} {
	if m.news.asked[p] == nil {
		m.news.asked[p] = map[string]struct{}{}
	}
	return m.news.asked[p]
}

// part takes a peer out of a namespace that it has closed.
func (m *members) part(p *peer, name string) []left {
	uid, s := p.uids[name], m.own[name]
	delete(p.uids, name)
	if s == nil || uid == "" {
		return nil
	}
	delete(s.members, uid)
	return []left{{s, uid, true}}
}

// forget takes a peer out of everything.
func (m *members) forget(id string, inOrder bool) (gone []left) {
	p := m.peers[id]
	if p == nil {
		return nil
	}
	delete(m.peers, id)
	gone = m.membersOf(p, inOrder)
	for _, g := range gone {
		delete(g.s.members, g.uid)
	}
	m.news.forget(p)
	return gone
}

func (m *members) membersOf(p *peer, inOrder bool) []left {
	list := make([]left, 0, len(p.uids))
	for name, uid := range p.uids {
		if s := m.own[name]; s != nil {
			list = append(list, left{s, uid, inOrder})
		}
	}
	return list
}

// servers counts the other servers that are there and have said what they have open.
func (m *members) servers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, p := range m.peers {
		if !p.silent && p.serial > 0 {
			n++
		}
	}
	return n
}

// membership is this server in one namespace.
type membership struct {
	m       *members
	l       *listener // of channel
	host    adapter.Host
	name    string // of the namespace
	uid     string // of this server in it
	counted string // the channel by whose subscribers Node counts servers
	channel string // on which members ask each other

	// answer takes an answer in the adapter's own form. It is nil where the adapter has a way of its own to tell
	// from whom an answer is.
	answer func(uid, payload string) error

	gone     func(uid string, inOrder bool) // nothing more comes from that member
	requests adapter.Requests               // Count and Rooms

	members map[string]*peer // by uid; guarded by m.mu
}

// join prepares the membership of an asker, whose messages carry uid. enter begins it.
func (a *asker) join(uid string) {
	m := a.b.members
	if m == nil {
		return
	}
	a.k = &membership{
		m: m, host: a.host, name: a.name, uid: uid, counted: a.common, channel: m.channels.Namespace(a.name),
		gone: a.requests.Gone, members: map[string]*peer{}, l: a.b.listener(nil, nil),
	}
	a.k.l.add(m.receive, a.k.channel)
}

// enter makes a namespace known to the others. What they ask must reach this server already.
func (a *asker) enter() {
	s := a.k
	if s == nil {
		return
	}
	m := s.m
	m.mu.Lock()
	m.own[s.name] = s
	m.news.open[s.name] = struct{}{}
	m.mu.Unlock()
	m.signal()
}

// leave tells that the namespace is closed here. Nobody must count it among the subscribers any more, or questions would wait
// for one who is counted and not known. It is harmless before enter.
func (s *membership) leave() {
	s.requests.Close()
	s.m.mu.Lock()
	s.m.closed(s)
	s.m.mu.Unlock()
	s.m.signal()
}

func (m *members) closed(s *membership) {
	if m.own[s.name] != s {
		return
	}
	delete(m.own, s.name)
	for _, p := range s.members {
		delete(p.uids, s.name)
	}
	switch _, untold := m.news.open[s.name]; {
	case untold:
		delete(m.news.open, s.name)
	case len(m.news.closed) < maxClosed:
		m.news.closed = append(m.news.closed, rediswire.ControlMember{Namespace: s.name, UID: s.uid})
	default:
		m.serial++ // that is how others learn that they missed something
	}
}

// lost tells the questions of the namespace that a member is gone.
func (s *membership) lost(uid string, inOrder bool) {
	s.requests.Gone(uid, inOrder)
	s.gone(uid, inOrder)
}

// doubt takes the outcome of a question. Who is there and did not answer is asked what it has open, in case that what is
// known of it is wrong: it may come of a message that was not from there.
func (s *membership) doubt(err error) {
	var inc *adapter.Incomplete
	if s == nil || !errors.As(err, &inc) {
		return
	}
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, uid := range inc.MissingServers {
		if p := s.members[uid]; p != nil && m.beats-p.synced >= doubtAfter {
			p.behind = true
		}
	}
}

// uids gives the members that are there and those that are silent, each in order.
func (s *membership) uids() (live, silent []string) {
	s.m.mu.Lock()
	for uid, p := range s.members {
		if p.silent {
			silent = append(silent, uid)
		} else {
			live = append(live, uid)
		}
	}
	s.m.mu.Unlock()
	slices.Sort(live)
	slices.Sort(silent)
	return live, silent
}
