package redisadapter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
	flushLimit    = time.Second // for what is queued when an outbox is closed

	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// outgoing is what waits in an outbox.
type outgoing interface {
	bytes() int
	dropped(err error) // tells whoever waits for it
}

// connector is what an outbox needs of its driver.
type connector interface {
	Connect(ctx context.Context) error
}

// outbox takes what the whole process has to say to Redis, without ever blocking, and one goroutine, the flusher, works
// it off in batches, in order. What happens while Redis is away is in the comment of PubSubOptions.PublishQueue.
type outbox[T outgoing] struct {
	redis connector
	count *counters
	fault func(error)

	wake    chan struct{} // holds one token when there is news
	cancel  context.CancelFunc
	closing chan struct{} // closed by close
	ended   chan struct{}

	mu      sync.Mutex
	backlog backlog[T]
	closed  bool
	failing error // nil while Redis takes what it is given
}

func newOutbox[T outgoing](redis connector, o busOptions, count *counters, fault func(error)) *outbox[T] {
	return &outbox[T]{
		redis: redis, count: count, fault: fault,
		wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}),
		backlog: backlog[T]{most: o.PublishQueue, mostBytes: o.PublishQueueBytes},
	}
}

// start starts the flusher, which close ends. flush is given one batch after another and works it off, however long
// that takes. It gives what is left of it when the outbox is closed.
func (b *outbox[T]) start(flush func(ctx context.Context, batch []T) (left []T)) {
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(context.Background())
	go b.run(ctx, flush)
}

// add queues x. Without an error x will be told what became of it.
func (b *outbox[T]) add(x T) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	dropped := b.backlog.put(x)
	b.mu.Unlock()
	b.signal()
	b.drop(dropped, ErrDropped)
	return nil
}

// waiting is what is queued.
func (b *outbox[T]) waiting() (n, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backlog.length(), b.backlog.size
}

// health is nil, or why Redis takes nothing.
func (b *outbox[T]) health() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failing
}

func (b *outbox[T]) setHealth(err error) {
	b.mu.Lock()
	b.failing = err
	b.mu.Unlock()
}

// close has what is queued flushed, within a second, and ends the flusher.
func (b *outbox[T]) close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.closing)
	}
	b.mu.Unlock()
	b.signal()
	limit := time.AfterFunc(flushLimit, b.cancel)
	<-b.ended
	limit.Stop()
	b.cancel()
}

func (b *outbox[T]) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *outbox[T]) drop(list []T, err error) {
	if len(list) == 0 {
		return
	}
	b.count.dropped.Add(uint64(len(list)))
	for _, x := range list {
		x.dropped(err)
	}
	b.fault(err)
}

// run is the flusher. It ends when the outbox is closed and what could be flushed is.
func (b *outbox[T]) run(ctx context.Context, flush func(ctx context.Context, batch []T) (left []T)) {
	defer close(b.ended)
	batch := make([]T, 0, maxBatch)
	for {
		var closed bool
		batch, closed = b.take(batch[:0])
		if len(batch) == 0 {
			if closed {
				return
			}
			<-b.wake
			continue
		}
		if left := flush(ctx, batch); len(left) > 0 {
			b.drop(append(left, b.rest()...), ErrClosed)
			return
		}
		clear(batch[:cap(batch)])
	}
}

// take moves the next batch out of the queue.
func (b *outbox[T]) take(batch []T) ([]T, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backlog.take(batch), b.closed
}

func (b *outbox[T]) rest() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backlog.rest()
}

// giveBack drops of a batch that waited for Redis what the queue, full meanwhile, would have dropped.
func (b *outbox[T]) giveBack(batch []T) []T {
	b.mu.Lock()
	over := b.backlog.over(batch)
	b.mu.Unlock()
	b.drop(batch[:over], ErrDropped)
	return batch[over:]
}

// recover waits, after err, until Redis is there again and then calls try, again and again until that succeeds. It is
// false when the outbox was closed and the time for what is queued is over.
func (b *outbox[T]) recover(ctx context.Context, err error, try func(context.Context) error) bool {
	b.setHealth(err)
	b.fault(err)
	for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
		if !b.pause(ctx, delay/2+rand.N(delay)) {
			return false
		}
		err := b.reach(ctx)
		if err == nil {
			err = try(ctx)
		}
		if err == nil {
			b.setHealth(nil)
			return true
		}
		b.setHealth(fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
}

func (b *outbox[T]) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxBackoff)
	defer cancel()
	return b.redis.Connect(ctx)
}

// pause waits, but no longer than minBackoff from when the outbox is closed: what is queued then has little time left. It
// is false when ctx has ended.
func (b *outbox[T]) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-b.closing:
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
	return sleep(ctx, min(d, minBackoff))
}

// sleep is false when ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
