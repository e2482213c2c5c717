package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	maxBatch      = 256
	maxBatchBytes = 1 << 20
	flushLimit    = time.Second // for what is queued when the publisher is closed

	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// queued is a message that waits to be published.
type queued struct {
	Publication

	done chan<- error // has room for one; nil where nobody waits
}

func (q queued) bytes() int { return len(q.Payload) }

// publisher publishes in batches what the whole process has to say, in order. What happens while Redis is away is
// in the comment of PubSubOptions.PublishQueue.
type publisher struct {
	d     Driver
	count *counters
	fault func(error)

	wake    chan struct{} // holds one token when there is news
	cancel  context.CancelFunc
	closing chan struct{} // closed by close
	ended   chan struct{}

	mu      sync.Mutex
	backlog backlog[queued]
	closed  bool
	failing error // nil while Redis accepts messages
}

func newPublisher(d Driver, o busOptions, count *counters, fault func(error)) *publisher {
	return &publisher{
		d: d, count: count, fault: fault,
		wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}),
		backlog: backlog[queued]{most: o.PublishQueue, mostBytes: o.PublishQueueBytes},
	}
}

// start starts the flusher, which close ends.
func (p *publisher) start() {
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go p.run(ctx)
}

// put queues a message. It never blocks. done, which may be nil, is told what became of it.
func (p *publisher) put(m Publication, done chan<- error) error {
	if len(m.Payload) > maxMessage {
		p.count.dropped.Add(1)
		p.fault(ErrTooLarge)
		return ErrTooLarge
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	dropped := p.backlog.put(queued{m, done})
	p.mu.Unlock()
	p.signal()
	p.drop(dropped, ErrDropped)
	return nil
}

// wait queues a message and waits until Redis has accepted it.
func (p *publisher) wait(ctx context.Context, m Publication) error {
	done := make(chan error, 1)
	if err := p.put(m, done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waiting is what is queued, in messages and bytes.
func (p *publisher) waiting() (messages, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.length(), p.backlog.size
}

// health is nil, or why messages are not accepted.
func (p *publisher) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failing
}

// close publishes what is queued, within a second, and ends the flusher.
func (p *publisher) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
	p.mu.Unlock()
	p.signal()
	limit := time.AfterFunc(flushLimit, p.cancel)
	<-p.ended
	limit.Stop()
	p.cancel()
}

func (p *publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *publisher) drop(list []queued, err error) {
	if len(list) == 0 {
		return
	}
	p.count.dropped.Add(uint64(len(list)))
	answer(list, err)
	p.fault(err)
}

func answer(list []queued, err error) {
	for _, q := range list {
		if q.done != nil {
			q.done <- err
		}
	}
}

// run is the flusher. It ends when the publisher is closed and has published what it could.
func (p *publisher) run(ctx context.Context) {
	defer close(p.ended)
	batch := make([]queued, 0, maxBatch)
	out := make([]Publication, 0, maxBatch)
	for {
		var closed bool
		batch, closed = p.take(batch[:0])
		if len(batch) == 0 {
			if closed {
				return
			}
			<-p.wake
			continue
		}
		for len(batch) > 0 {
			out = out[:0]
			for _, q := range batch {
				out = append(out, q.Publication)
			}
			at := time.Now()
			errs := p.d.Publish(ctx, out)
			p.count.batch(at)
			left, err := p.settle(batch, errs)
			batch = left
			if err == nil {
				break
			}
			if !p.recover(ctx, err) {
				p.drop(append(batch, p.rest()...), ErrClosed)
				return
			}
			batch = p.giveBack(batch)
		}
		clear(out)
		clear(batch[:cap(batch)])
	}
}

// settle answers those who wait for messages of the batch, and gives the messages that are to be sent again. err is nil
// or one of the errors.
func (p *publisher) settle(batch []queued, errs []error) (left []queued, err error) {
	if errs == nil {
		p.count.published.Add(uint64(len(batch)))
		answer(batch, nil)
		return batch[:0], nil
	}
	left = batch[:0]
	for i, q := range batch {
		switch {
		case errs[i] == nil:
			p.count.published.Add(1)
			answer(batch[i:i+1], nil)
			continue
		case errors.Is(errs[i], ErrNotSent):
			left = append(left, q)
		default:
			p.count.failed.Add(1)
			answer(batch[i:i+1], fmt.Errorf("%w: %w", ErrUnavailable, errs[i]))
		}
		err = errs[i]
	}
	return left, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// take moves the next batch out of the queue.
func (p *publisher) take(batch []queued) ([]queued, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.take(batch), p.closed
}

func (p *publisher) rest() []queued {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.rest()
}

// giveBack drops of a batch that waited for Redis what the queue, full meanwhile, would have dropped.
func (p *publisher) giveBack(batch []queued) []queued {
	p.mu.Lock()
	over := p.backlog.over(batch)
	p.mu.Unlock()
	p.drop(batch[:over], ErrDropped)
	return batch[over:]
}

// recover waits until Redis is there again. It is false when the publisher was closed and the time for that is over.
func (p *publisher) recover(ctx context.Context, err error) bool {
	p.setFailing(err)
	p.fault(err)
	for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
		if !pause(ctx, p.closing, delay/2+rand.N(delay)) {
			return false
		}
		again := p.connect(ctx)
		if again == nil {
			p.setFailing(nil)
			return true
		}
		p.setFailing(fmt.Errorf("%w: %w", ErrUnavailable, again))
	}
}

func (p *publisher) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxBackoff)
	defer cancel()
	return p.d.Connect(ctx)
}

// pause waits, but no longer than minBackoff from when closing is closed: what is queued then has little time left. It is
// false when ctx has ended.
func pause(ctx context.Context, closing <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-closing:
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
	t.Reset(min(d, minBackoff))
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *publisher) setFailing(err error) {
	p.mu.Lock()
	p.failing = err
	p.mu.Unlock()
}
