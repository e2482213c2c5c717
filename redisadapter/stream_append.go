package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxTries is how often an entry whose outcome was not known and that turned out not to be there is appended again: an
// entry that Redis does not take must not hold up the others.
const maxTries = 8

// appending is an entry that waits to be appended.
type appending struct {
	Append

	size int
	done func(id string, err error) // told once what became of it, by the flusher or whoever drops it; may be nil

	unknown bool    // it was sent, and may be there
	since   entryID // what was known of the stream before
	tries   int
}

func (e appending) bytes() int { return e.size }

func (e appending) dropped(err error) { e.tell("", err) }

func (e appending) tell(id string, err error) {
	if e.done != nil {
		e.done(id, err)
	}
}

// appender appends in batches what the whole process has to say, in order and each entry once, also where a connection
// is lost between an entry and the answer to it: then the stream is read. Where Redis refuses single entries of a batch
// and takes later ones, these come first.
type appender struct {
	*outbox[appending]

	d StreamDriver

	last map[string]entryID // the highest id that is known, by stream; guarded by mu

	// For the flusher alone.
	acked map[string]struct{} // the ids of entries of the batch at hand
	out   []Append            // of the batch at hand
}

func newAppender(d StreamDriver, o busOptions, count *counters, fault func(error)) *appender {
	return &appender{
		outbox: newOutbox[appending](d, o, count, fault), d: d,
		last: map[string]entryID{}, acked: map[string]struct{}{},
	}
}

// start starts the flusher, which close ends.
func (p *appender) start() { p.outbox.start(p.flush) }

// put queues an entry. It never blocks. Without an error its done will be called.
func (p *appender) put(e appending) error {
	for _, f := range e.Fields {
		e.size += len(f)
	}
	return p.add(e)
}

// saw tells of an id of a stream.
func (p *appender) saw(stream string, id entryID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last[stream].less(id) {
		p.last[stream] = id
	}
}

// flush appends a batch. It gives what is left when the appender is closed.
func (p *appender) flush(ctx context.Context, batch []appending) (left []appending) {
	defer clear(p.acked)
	for len(batch) > 0 {
		p.out = p.out[:0]
		p.mu.Lock()
		for i := range batch {
			if e := &batch[i]; e.tries == 0 {
				e.since = p.last[e.Stream]
			}
			p.out = append(p.out, batch[i].Append)
		}
		p.mu.Unlock()
		at := time.Now()
		ids, errs := p.d.Append(ctx, p.out)
		p.count.batch(at)
		clear(p.out)
		var err error
		if batch, err = p.settle(batch, ids, errs); err == nil {
			return nil
		}
		reason := err
		if !p.recover(ctx, err, func(ctx context.Context) error {
			batch, err = p.resolve(ctx, batch, reason)
			return err
		}) {
			return batch
		}
		batch = p.giveBack(batch)
	}
	return nil
}

// settle tells what became of the entries, and gives those that are to be tried again. err is nil or one of the errors.
func (p *appender) settle(batch []appending, ids []string, errs []error) (left []appending, err error) {
	left = batch[:0]
	for i := range batch {
		e := batch[i]
		if errs == nil || errs[i] == nil {
			if errs != nil {
				p.acked[ids[i]] = struct{}{}
			}
			p.appended(&e, ids[i])
			continue
		}
		err = errs[i]
		e.unknown = !errors.Is(err, ErrNotSent)
		left = append(left, e)
	}
	if err != nil {
		err = fmt.Errorf("%w: append: %w", ErrUnavailable, err)
	}
	return left, err
}

func (p *appender) appended(e *appending, id string) {
	p.count.published.Add(1)
	if at, ok := parseEntryID(id); ok {
		p.saw(e.Stream, at)
	}
	e.tell(id, nil)
}
