package adapter

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

// breaking is a client whose connection breaks again and again.
type breaking struct {
	id, pid  string
	m        *member
	restored int

	mu  sync.Mutex
	got []*parser.Packet
}

// lose cuts the connection and gives the last offset that reached the client.
func (c *breaking) lose(t *testing.T, rnd *rand.Rand) (offset string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.gone.Store(true)
	if n := len(c.got); n > 1 { // the last ones had not left the queue
		c.got = c.got[:n-rnd.IntN(min(n, 5))]
	}
	args := c.got[len(c.got)-1].Args
	return text(t, args[len(args)-1])
}

// reconnect loses the connection and restores the session.
func (c *breaking) reconnect(t *testing.T, r *recovering, rnd *rand.Rand) error {
	t.Helper()
	offset := c.lose(t, rnd)
	r.index.Remove(c.m)
	s := ended(c.id, "room")
	s.PID = c.pid
	r.Persist(s)
	c.m = newMember(c.id)
	err := r.Restore(t.Context(), c.pid, offset, func(s Session, missed []*parser.Packet) error {
		c.mu.Lock()
		c.got = append(c.got, missed...)
		c.mu.Unlock()
		r.index.Add(c.m)
		return r.index.Join(c.m, s.Rooms...)
	})
	c.restored++
	return err
}

// check verifies that the client got what each sender sent, all of it and in order.
func (c *breaking) check(t *testing.T, senders, count int) {
	t.Helper()
	next := map[string]float64{}
	for _, p := range c.got[1:] {
		v, err := p.Args[0].Any()
		if err != nil || v != next[p.Event] {
			t.Fatalf("client %s, sender %s: got %v, want %v", c.id, p.Event, v, next[p.Event])
		}
		next[p.Event]++
	}
	for s := range senders {
		if got := next[strconv.Itoa(s)]; got != float64(count) {
			t.Errorf("client %s, sender %d: %v of %d", c.id, s, got, count)
		}
	}
	if c.restored == 0 {
		t.Errorf("client %s was never restored", c.id)
	}
}

// TestRecovery_Exact covers the promise: among restored sessions nothing is lost, doubled or out of order,
// while several goroutines broadcast and connections break at any moment.
func TestRecovery_Exact(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{})
	const senders, count, clients = 3, 400, 4
	all := map[string]*breaking{}
	for i := range clients {
		id := strconv.Itoa(i)
		all[id] = &breaking{id: id, pid: fmt.Sprintf("%020d", i), m: add(t, r.index, id, "room")}
	}
	r.deliver = func(p *parser.Packet, m Member) {
		runtime.Gosched() // lets another broadcast or a restored session in, if anything does
		c := all[m.ID()]
		c.mu.Lock()
		defer c.mu.Unlock()
		if !m.(*member).Gone() { // what is queued on a dead connection is lost
			c.got = append(c.got, p)
		}
	}
	r.say(t, "start", Options{}) // everybody has an offset from the first packet on

	var sending, breaks sync.WaitGroup
	sent := make(chan struct{})
	for s := range senders {
		sending.Go(func() {
			for i := range count {
				o := Options{}
				if i%2 == 0 {
					o.Rooms = []string{"room"}
				}
				if err := r.Broadcast(t.Context(), event(strconv.Itoa(s), i), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, c := range all {
		breaks.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(c.id[0]), 7))
			for more := true; more; {
				select {
				case <-sent:
					more = false
				default:
				}
				if err := c.reconnect(t, r, rnd); err != nil {
					t.Errorf("client %s, round %d: %v", c.id, c.restored, err)
					return
				}
			}
		})
	}
	sending.Wait()
	close(sent)
	breaks.Wait()
	for _, c := range all {
		c.check(t, senders, count)
	}
}

// TestRecovery_DeliversInOrderOfOffsets covers that a broadcast is delivered before the next one gets its offset:
// else a client that got only the later one would tell that offset, and never get the earlier.
func TestRecovery_DeliversInOrderOfOffsets(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{})
	add(t, r.index, "a")
	second := make(chan error, 1)
	r.deliver = func(p *parser.Packet, m Member) {
		if p.Event == "first" {
			started := make(chan struct{})
			go func() { // ends when the second broadcast is done
				close(started)
				second <- r.Broadcast(t.Context(), event("second"), Options{})
			}()
			<-started
			for range 10_000 {
				runtime.Gosched() // more than enough for it to come first, if it could
			}
		}
		r.got[m.ID()] = append(r.got[m.ID()], p)
	}
	r.say(t, "first", Options{})
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if got := r.got["a"]; len(got) != 2 || got[0].Event != "first" || got[1].Event != "second" {
		t.Errorf("got %v", got)
	}
}
