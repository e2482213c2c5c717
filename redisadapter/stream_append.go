package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
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

func (e appending) tell(id string, err error) {
	if e.done != nil {
		e.done(id, err)
	}
}

// appender appends in batches what the whole process has to say, in order and each entry once, also where a connection
// is lost between an entry and the answer to it: then the stream is read. Where Redis refuses single entries of a batch
// and takes later ones, these come first.
type appender struct {
	d     StreamDriver
	count *counters
	fault func(error)

	wake    chan struct{} // holds one token when there is news
	cancel  context.CancelFunc
	closing chan struct{} // closed by close
	ended   chan struct{}

	mu      sync.Mutex
	backlog backlog[appending]
	closed  bool
	failing error              // nil while Redis takes entries
	last    map[string]entryID // the highest id that is known, by stream

	acked map[string]struct{} // the ids of entries of the batch at hand; for the flusher alone
}

func newAppender(d StreamDriver, o busOptions, count *counters, fault func(error)) *appender {
	return &appender{
		d: d, count: count, fault: fault,
		wake: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{}),
		backlog: backlog[appending]{most: o.PublishQueue, mostBytes: o.PublishQueueBytes},
		last:    map[string]entryID{}, acked: map[string]struct{}{},
	}
}

// start starts the flusher, which close ends.
func (p *appender) start() {
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go p.run(ctx)
}

// put queues an entry. It never blocks. Without an error its done will be called.
func (p *appender) put(e appending) error {
	for _, f := range e.Fields {
		e.size += len(f)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	dropped := p.backlog.put(e)
	p.mu.Unlock()
	p.signal()
	p.drop(dropped, ErrDropped)
	return nil
}

// saw tells of an id of a stream.
func (p *appender) saw(stream string, id entryID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last[stream].less(id) {
		p.last[stream] = id
	}
}

// waiting is what is queued, in entries and bytes.
func (p *appender) waiting() (entries, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.length(), p.backlog.size
}

// health is nil, or why entries are not taken.
func (p *appender) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failing
}

// close appends what is queued, within a second, and ends the flusher.
func (p *appender) close() {
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

func (p *appender) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *appender) drop(list []appending, err error) {
	if len(list) == 0 {
		return
	}
	p.count.dropped.Add(uint64(len(list)))
	for i := range list {
		list[i].tell("", err)
	}
	p.fault(err)
}

// run is the flusher. It ends when the appender is closed and has appended what it could.
func (p *appender) run(ctx context.Context) {
	defer close(p.ended)
	var batch []appending
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
		if left := p.flush(ctx, batch); len(left) > 0 {
			p.drop(append(left, p.rest()...), ErrClosed)
			return
		}
		clear(batch[:cap(batch)])
	}
}

// take moves the next batch out of the queue.
func (p *appender) take(batch []appending) ([]appending, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.take(batch), p.closed
}

func (p *appender) rest() []appending {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.rest()
}

// flush appends a batch, however long that takes. It gives what is left when the appender is closed.
func (p *appender) flush(ctx context.Context, batch []appending) []appending {
	defer clear(p.acked)
	out := make([]Append, 0, len(batch))
	for len(batch) > 0 {
		out = out[:0]
		p.mu.Lock()
		for i := range batch {
			if e := &batch[i]; e.tries == 0 {
				e.since = p.last[e.Stream]
			}
			out = append(out, batch[i].Append)
		}
		p.mu.Unlock()
		at := time.Now()
		ids, errs := p.d.Append(ctx, out)
		p.count.batch(at)
		var err error
		if batch, err = p.settle(batch, ids, errs); err == nil {
			return nil
		}
		if batch, err = p.again(ctx, batch, err); err != nil {
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

// again waits until Redis is there, and finds out which entries of the batch it has. The error says that the appender
// was closed first.
func (p *appender) again(ctx context.Context, batch []appending, err error) ([]appending, error) {
	p.setFailing(err)
	p.fault(err)
	for delay := minBackoff; ; delay = min(2*delay, maxBackoff) {
		if !pause(ctx, p.closing, delay/2+rand.N(delay)) {
			return batch, ErrClosed
		}
		if again := p.connect(ctx); again != nil {
			p.setFailing(fmt.Errorf("%w: %w", ErrUnavailable, again))
			continue
		}
		left, again := p.resolve(ctx, batch, err)
		batch = left
		if again == nil {
			p.setFailing(nil)
			return batch, nil
		}
		p.setFailing(fmt.Errorf("%w: %w", ErrUnavailable, again))
	}
}

func (p *appender) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxBackoff)
	defer cancel()
	return p.d.Connect(ctx)
}

// giveBack drops of a batch that waited for Redis what the queue, full meanwhile, would have dropped.
func (p *appender) giveBack(batch []appending) []appending {
	p.mu.Lock()
	over := p.backlog.over(batch)
	p.mu.Unlock()
	p.drop(batch[:over], ErrDropped)
	return batch[over:]
}

// sleep is false when ctx has ended.
func (p *appender) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *appender) setFailing(err error) {
	p.mu.Lock()
	p.failing = err
	p.mu.Unlock()
}
