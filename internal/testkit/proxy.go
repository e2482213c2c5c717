package testkit

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Direction is one of the two ways through a Proxy.
type Direction int

// The two directions.
const (
	ToServer Direction = iota
	ToClient
)

// Proxy passes TCP connections on, with faults where a test wants them.
type Proxy struct {
	Addr string // to connect to

	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	cut    bool
	closed bool
	hung   [2]chan struct{} // closed when the direction goes on; nil while it goes
	delay  [2]time.Duration
	taken  int
}

// StartProxy starts a proxy to an address and stops it with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]struct{}{}}
	p.running.Add(1)
	go p.serve()
	t.Cleanup(p.close)
	return p
}

// Cut closes all connections and every new one, until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close() // the pumps end by it
	}
}

// Hang lets nothing more pass that way, until Heal; all connections stay open, and new ones are taken.
func (p *Proxy) Hang(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hung[d] == nil {
		p.hung[d] = make(chan struct{})
	}
}

// Delay lets everything pass that way later by that.
func (p *Proxy) Delay(d Direction, by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay[d] = by
}

// Heal ends all faults. What hung arrives now.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heal()
}

func (p *Proxy) heal() {
	p.cut = false
	p.delay = [2]time.Duration{}
	for i, c := range p.hung {
		if c != nil {
			close(c)
		}
		p.hung[i] = nil
	}
}

// Connections counts those that were taken so far, also while it was cut.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

func (p *Proxy) close() {
	_ = p.listener.Close() // serve ends by it
	p.mu.Lock()
	p.closed = true
	p.heal()
	for c := range p.conns {
		_ = c.Close() // the pumps end by it
	}
	p.mu.Unlock()
	p.running.Wait()
}

// serve ends when the listener is closed.
func (p *Proxy) serve() {
	defer p.running.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Add(1)
		go p.connect(client)
	}
}

// connect ends when it has connected to the target, or cannot.
func (p *Proxy) connect(client net.Conn) {
	defer p.running.Done()
	p.mu.Lock()
	p.taken++
	cut := p.cut
	p.mu.Unlock()
	if cut {
		_ = client.Close()
		return
	}
	server, err := net.DialTimeout("tcp4", p.target, Scale(time.Second))
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		_, _ = client.Close(), server.Close()
		return
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.running.Add(4)
	p.pump(ToServer, client, server)
	p.pump(ToClient, server, client)
}

type parcel struct {
	data []byte
	due  time.Time
}

func (p *Proxy) pump(d Direction, from, to net.Conn) {
	parcels := make(chan parcel, 1024)
	go p.receive(d, from, parcels)
	go p.send(d, from, to, parcels)
}

// receive ends when the connection is closed.
func (p *Proxy) receive(d Direction, from net.Conn, parcels chan<- parcel) {
	defer p.running.Done()
	defer close(parcels)
	for {
		b := make([]byte, 16<<10)
		n, err := from.Read(b)
		if n > 0 {
			p.mu.Lock()
			due := time.Now().Add(p.delay[d])
			p.mu.Unlock()
			parcels <- parcel{b[:n], due}
		}
		if err != nil {
			return
		}
	}
}

// send ends when receive has, or when the connection is closed.
func (p *Proxy) send(d Direction, from, to net.Conn, parcels <-chan parcel) {
	defer p.running.Done()
	var err error
	for m := range parcels {
		if err != nil {
			continue
		}
		if wait := time.Until(m.due); wait > 0 {
			<-time.After(wait)
		}
		p.mu.Lock()
		hung := p.hung[d]
		p.mu.Unlock()
		if hung != nil {
			<-hung
		}
		if _, err = to.Write(m.data); err != nil {
			_ = from.Close() // so that receive ends
		}
	}
	_, _ = from.Close(), to.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, from)
	delete(p.conns, to)
}
