package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrGap is wrapped by faults of a stream that was trimmed, or lost its end, before this server had read it.
var ErrGap = errors.New("redisadapter: entries of the stream are lost")

// verifyEvery is how often a reader that is behind looks whether the stream was trimmed before it.
const verifyEvery = 50 * time.Millisecond

// reader reads one stream from a fixed place on, and comes back to where it was when Redis was away.
type reader struct {
	c      *streams
	name   string
	cancel context.CancelFunc
	ended  chan struct{}

	at       entryID   // what was read last; for the goroutine alone once it runs
	verified time.Time // likewise

	mu      sync.Mutex
	known   bool    // at is
	done    entryID // everything up to it has been handled
	failing error   // nil while Redis answers
	moved   chan struct{}
}

func newReader(c *streams, name string) *reader {
	return &reader{c: c, name: name, ended: make(chan struct{})}
}

// locate fixes where reading begins: behind what is there.
func (r *reader) locate(ctx context.Context) error {
	info, err := r.c.d.Info(ctx, r.name)
	if err != nil {
		return err
	}
	if info.LastID != "" {
		var ok bool
		if r.at, ok = parseEntryID(info.LastID); !ok {
			return fmt.Errorf("redisadapter: last id of stream %s: %q", r.name, info.LastID)
		}
	}
	r.mu.Lock()
	r.known = true
	r.mu.Unlock()
	r.handled()
	return nil
}

// start starts reading, which stop ends.
func (r *reader) start() {
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go r.run(ctx)
}

func (r *reader) stop() {
	r.cancel()
	<-r.ended
}

// run reads and hands out entries. It ends when the reader is stopped.
func (r *reader) run(ctx context.Context) {
	defer close(r.ended)
	again := false // after an error
	for delay := minBackoff; ; {
		entries, err := r.read(ctx, again)
		if ctx.Err() != nil {
			return
		}
		if again = err != nil; again {
			r.failed(err)
			if !sleep(ctx, delay) {
				return
			}
			delay = min(2*delay, maxBackoff)
			continue
		}
		delay = minBackoff
		r.failed(nil)
		for i := range entries {
			r.take(&entries[i])
		}
		if len(entries) > 0 {
			r.handled()
		}
	}
}

// read gives the next entries.
func (r *reader) read(ctx context.Context, again bool) ([]Entry, error) {
	r.mu.Lock()
	known := r.known
	r.mu.Unlock()
	if !known {
		if err := r.locate(ctx); err != nil {
			return nil, err
		}
	}
	if again {
		if err := r.verify(ctx); err != nil {
			return nil, err
		}
	}
	o := &r.c.o
	entries, err := r.c.d.Read(ctx, r.name, r.at.String(), o.ReadCount, o.Block)
	if err != nil || len(entries) < o.ReadCount || time.Since(r.verified) < verifyEvery {
		return entries, err
	}
	return entries, r.verify(ctx) // it is behind: the stream may have been trimmed between at and the first of these
}

// verify looks whether what comes after at is there.
func (r *reader) verify(ctx context.Context) error {
	info, err := r.c.d.Info(ctx, r.name)
	if err != nil {
		return err
	}
	r.verified = time.Now()
	first, _ := parseEntryID(info.FirstID)
	last, _ := parseEntryID(info.LastID)
	switch {
	case last.less(r.at):
		// Redis came back with less than it had. What it will give new ids to must not be taken for read.
		r.c.gap(r.name, fmt.Errorf("%w: %s ended at %s and now does at %s", ErrGap, r.name, r.at, last))
		r.at = last
		r.c.rewind(r.name, last)
		r.handled()
	case r.at != entryID{} && r.at.less(first):
		r.c.gap(r.name, fmt.Errorf("%w: %s was read to %s and now begins at %s", ErrGap, r.name, r.at, first))
	}
	return nil
}

// take hands out one entry. The position is moved before anybody looks at it, so that none is read again and again.
func (r *reader) take(e *Entry) {
	id, ok := parseEntryID(e.ID)
	if !ok || !r.at.less(id) {
		r.c.count.malformed.Add(1)
		r.c.faultAll(faultEntry, fmt.Errorf("redisadapter: id of an entry in %s: %.64q", r.name, e.ID))
		return
	}
	r.at = id
	r.c.entry(id, e.Fields)
}

// handled tells those who wait that everything up to at is done.
func (r *reader) handled() {
	r.c.app.saw(r.name, r.at)
	r.mu.Lock()
	r.done = r.at
	moved := r.moved
	r.moved = nil
	r.mu.Unlock()
	if moved != nil {
		close(moved)
	}
}

func (r *reader) failed(err error) {
	r.mu.Lock()
	was := r.failing
	r.failing = err
	r.mu.Unlock()
	switch {
	case err != nil:
		r.c.faultAll(faultStream, fmt.Errorf("%w: read %s: %w", ErrUnavailable, r.name, err))
	case was != nil:
		r.c.faultAll(faultStream, fmt.Errorf("redisadapter: %s is read again, after: %w", r.name, was))
	}
}

// health is nil, or why nothing is read.
func (r *reader) health() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing
}

// position is up to where everything has been handled; zero before that is known.
func (r *reader) position() entryID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// reached waits until everything up to id has been handled.
func (r *reader) reached(ctx context.Context, id entryID) error {
	for {
		r.mu.Lock()
		if r.known && !r.done.less(id) {
			r.mu.Unlock()
			return nil
		}
		if r.moved == nil {
			r.moved = make(chan struct{})
		}
		moved := r.moved
		r.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
