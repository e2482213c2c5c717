package redisadapter

import "sync"

const (
	maxInbox      = 8192
	maxInboxBytes = 64 << 20
)

// inbox holds what came from Redis until the dispatcher of the bus has handled it, so that the reader of the connection
// need not wait for handling, and handling may wait for the connection: to unsubscribe, when a message ends the last
// socket of a namespace. When it is full the reader waits; a Redis that must hold back too much then ends the
// connection, which is a gap like any other.
type inbox struct {
	mu     sync.Mutex
	space  sync.Cond // the dispatcher has taken all
	news   sync.Cond // there is something for the dispatcher
	queue  []incoming
	bytes  int
	closed bool
	ended  chan struct{}
}

type incoming struct{ pattern, channel, payload string }

func newInbox() *inbox {
	b := &inbox{ended: make(chan struct{})}
	b.space.L, b.news.L = &b.mu, &b.mu
	return b
}

func (b *inbox) put(m incoming) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && (len(b.queue) >= maxInbox || b.bytes >= maxInboxBytes) {
		b.space.Wait()
	}
	if b.closed {
		return
	}
	b.queue = append(b.queue, m)
	b.bytes += len(m.payload)
	if len(b.queue) == 1 {
		b.news.Signal()
	}
}

// take waits for messages; none means that the inbox is closed. spare is memory of an earlier batch.
func (b *inbox) take(spare []incoming) []incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.closed {
		b.news.Wait()
	}
	if b.closed {
		return nil
	}
	batch := b.queue
	b.queue, b.bytes = spare, 0
	b.space.Broadcast()
	return batch
}

func (b *inbox) length() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

// run hands out what comes. It ends when the inbox is closed.
func (b *inbox) run(handle func(incoming)) {
	defer close(b.ended)
	var spare []incoming
	for {
		batch := b.take(spare)
		if batch == nil {
			return
		}
		for _, m := range batch {
			handle(m)
		}
		clear(batch)
		spare = batch[:0]
		if cap(spare) > 1024 {
			spare = nil // a burst is over
		}
	}
}

// close drops what is left and waits for the dispatcher.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.queue = nil
	b.mu.Unlock()
	b.space.Broadcast()
	b.news.Broadcast()
	<-b.ended
}
