package redisadapter

import (
	"strings"
	"testing"
	"testing/synctest"
)

// A full inbox makes the reader wait, loses nothing, and lets the reader go when it is closed.
func TestInbox_Full(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		payload string
		fit     int
	}{
		"messages": {"", maxInbox}, "bytes": {strings.Repeat("x", maxInboxBytes/4), 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newInbox()
				put := 0
				read := make(chan struct{})
				go func() { // ends when the inbox has room again
					defer close(read)
					for range c.fit + 1 {
						b.put(incoming{payload: c.payload})
						put++
					}
				}()
				synctest.Wait()
				if put != c.fit {
					t.Errorf("%d messages fit, want %d", put, c.fit)
				}
				handled := 0
				go b.run(func(incoming) { handled++ })
				<-read
				synctest.Wait()
				if handled != c.fit+1 {
					t.Errorf("%d messages handled", handled)
				}
				b.close()
				b.put(incoming{}) // returns
				if handled != c.fit+1 {
					t.Error("a message after close")
				}
			})
		})
	}
}

func TestInbox_CloseReleasesReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		b := newInbox()
		for range maxInbox {
			b.put(incoming{})
		}
		read := make(chan struct{})
		go func() { // ends when the inbox is closed
			defer close(read)
			b.put(incoming{})
		}()
		synctest.Wait()
		blocked := make(chan struct{})
		go b.run(func(incoming) { <-blocked })
		synctest.Wait()
		go b.close() // ends when the dispatcher does
		synctest.Wait()
		<-read
		close(blocked)
		synctest.Wait()
	})
}
