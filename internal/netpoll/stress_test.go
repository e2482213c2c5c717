package netpoll

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Everything at once, from several goroutines, until the connection ends in one of several ways.
func TestConn_Races(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d := setup(t, Config{ReadBuffer: 512, WriteTimeout: time.Second})
		for round := range 60 {
			h := newFake(t)
			ours, peer := pair(t)
			c := d.Add(ours, pattern(10), h)
			var wg, callers sync.WaitGroup
			wg.Go(func() { _, _ = io.Copy(io.Discard, peer) }) // ends with the connection
			wg.Go(func() {                                     // ends with the connection
				for range 50 {
					if _, err := peer.Write(pattern(700)); err != nil {
						return
					}
				}
			})
			for i := range 4 {
				rnd := rand.New(rand.NewPCG(uint64(round), uint64(i)))
				callers.Go(func() { // ends after a number of calls
					for range 200 {
						switch rnd.IntN(8) {
						case 0:
							c.Pause()
						case 1, 2:
							c.Resume()
						case 3:
							c.Wake()
						case 4:
							h.send(c, pattern(rnd.IntN(70000)))
						default:
							h.send(c, pattern(rnd.IntN(300)))
						}
					}
				})
			}
			wg.Go(func() { // ends at once
				time.Sleep(time.Duration(round%6) * time.Millisecond) // a different moment in each round
				switch round % 4 {
				case 0:
					c.Close(nil)
				case 1:
					c.CloseAfterFlush(nil, 20*time.Millisecond)
				case 2:
					_ = peer.Close()
				default:
					c.CloseAfterFlush(nil, time.Minute)
					c.Close(nil)
				}
			})
			callers.Wait()
			c.Resume()  // a paused connection would not notice that the peer has gone
			_ = h.end() // any error may have been first
			_ = peer.Close()
			wg.Wait()
		}
	})
}

// No wake is lost: each message that is queued arrives, whoever wakes and when.
func TestConn_NoWakeIsLost(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{}), newFake(t)
		ours, peer := pair(t)
		c := d.Add(ours, nil, h)
		const senders, rounds = 4, 2000
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() { // ends after a number of rounds
				for range rounds {
					h.send(c, []byte("0123456789"))
				}
			})
		}
		buf := make([]byte, 10)
		for range senders * rounds {
			if _, err := io.ReadFull(peer, buf); err != nil || !bytes.Equal(buf, []byte("0123456789")) {
				t.Fatalf("%q %v", buf, err)
			}
		}
		wg.Wait()
	})
}

// Many connections that come and go leave nothing behind; TestMain looks for goroutines.
func TestDriver_Churn(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d := setup(t, Config{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() { // ends after a number of connections
				for j := range 30 {
					h := newFake(t)
					ours, peer := pair(t)
					c := d.Add(ours, nil, h)
					h.send(c, []byte("hello"))
					if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
						t.Error(err)
					}
					if (i+j)%2 == 0 {
						_ = peer.Close()
					} else {
						c.Close(nil)
					}
					_ = h.end() // nil or io.EOF
				}
			})
		}
		wg.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.first != nil {
			t.Error("connections are still in the list")
		}
	})
}
