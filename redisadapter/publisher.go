package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// queued is a message that waits to be published.
type queued struct {
	Publication

	done chan<- error // has room for one; nil where nobody waits
}

func (q queued) bytes() int { return len(q.Payload) }

func (q queued) tell(err error) {
	if q.done != nil {
		q.done <- err
	}
}

func (q queued) dropped(err error) { q.tell(err) }

// publisher publishes in batches what the whole process has to say, in order.
type publisher struct {
	*outbox[queued]

	d   Driver
	out []Publication // of the batch at hand; for the flusher alone
}

func newPublisher(d Driver, o busOptions, count *counters, fault func(error)) *publisher {
	return &publisher{
		outbox: newOutbox[queued](d, o, count, fault), d: d, out: make([]Publication, 0, maxBatch),
	}
}

// start starts the flusher, which close ends.
func (p *publisher) start() { p.outbox.start(p.flush) }

// put queues a message. It never blocks. done, which may be nil, is told what became of it.
func (p *publisher) put(m Publication, done chan<- error) error {
	if len(m.Payload) > maxMessage {
		p.count.dropped.Add(1)
		p.fault(ErrTooLarge)
		return ErrTooLarge
	}
	return p.add(queued{m, done})
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

// flush publishes a batch. It gives what is left when the publisher is closed.
func (p *publisher) flush(ctx context.Context, batch []queued) (left []queued) {
	for len(batch) > 0 {
		p.out = p.out[:0]
		for _, q := range batch {
			p.out = append(p.out, q.Publication)
		}
		at := time.Now()
		errs := p.d.Publish(ctx, p.out)
		p.count.batch(at)
		clear(p.out)
		var err error
		if batch, err = p.settle(batch, errs); err == nil {
			return nil
		}
		if !p.recover(ctx, err, func(context.Context) error { return nil }) {
			return batch
		}
		batch = p.giveBack(batch)
	}
	return nil
}

// settle answers those who wait for messages of the batch, and gives the messages that are to be sent again. err is nil
// or one of the errors.
func (p *publisher) settle(batch []queued, errs []error) (left []queued, err error) {
	left = batch[:0]
	published := uint64(0)
	for i, q := range batch {
		switch {
		case errs == nil || errs[i] == nil:
			published++
			q.tell(nil)
			continue
		case errors.Is(errs[i], ErrNotSent):
			left = append(left, q)
		default:
			p.count.failed.Add(1)
			q.tell(fmt.Errorf("%w: %w", ErrUnavailable, errs[i]))
		}
		err = errs[i]
	}
	p.count.published.Add(published)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return left, err
}
