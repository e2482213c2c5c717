package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// resolvePage is how many entries are read at once.
	resolvePage = 500

	// resolvePause is for how long nothing must come of what was sent over the lost connection until it is taken as not
	// coming any more: Redis may still have to read it.
	resolvePause = 100 * time.Millisecond
)

var errTrimmed = errors.New("redisadapter: outcome not known, the stream has been trimmed since")

// resolve finds out which entries are in their streams, though that was not said, and gives those that are not.
func (p *appender) resolve(ctx context.Context, batch []appending, cause error) ([]appending, error) {
	streams := map[string]*search{}
	for i := range batch {
		e := &batch[i]
		if !e.unknown {
			continue
		}
		s := streams[e.Stream]
		if s == nil {
			s = &search{name: e.Stream, from: e.since}
			streams[e.Stream] = s
		}
		if e.since.less(s.from) {
			s.from = e.since
		}
		s.entries = append(s.entries, e)
	}
	for _, s := range streams {
		if err := p.find(ctx, s); err != nil {
			return batch, err
		}
	}
	left := batch[:0]
	for _, e := range batch {
		switch s := streams[e.Stream]; {
		case !e.unknown:
			left = append(left, e)
		case s.ids[0] != "":
			p.acked[s.ids[0]] = struct{}{}
			p.appended(&e, s.ids[0])
			s.ids = s.ids[1:]
		case s.trimmed || e.tries >= maxTries:
			s.ids = s.ids[1:]
			p.count.failed.Add(1)
			if s.trimmed {
				cause = fmt.Errorf("%w: %w", errTrimmed, cause)
			}
			e.tell("", cause)
		default:
			s.ids = s.ids[1:]
			e.unknown = false
			e.tries++
			left = append(left, e)
		}
	}
	return left, nil
}

// search looks for entries of one stream.
type search struct {
	name    string
	from    entryID
	entries []*appending
	ids     []string // those found, "" for the others
	found   int      // how many of entries are found, or before one that is
	at      entryID  // what was read last
	trimmed bool     // something that was behind from is not there any more
}

// find fills ids. Entries share a connection, so that those which are there are in order. It reads until none of them
// comes any more; others may append all the time.
func (p *appender) find(ctx context.Context, s *search) error {
	ctx, cancel := context.WithTimeout(ctx, 5*maxBackoff)
	defer cancel()
	s.ids = make([]string, len(s.entries))
	s.at = s.from
	for first := true; ; first = false {
		found := s.found
		if err := p.scan(ctx, s); err != nil {
			return err
		}
		if s.found == len(s.entries) || s.found == found && !first {
			return p.checkTrimmed(ctx, s)
		}
		if !sleep(ctx, resolvePause) {
			return context.Cause(ctx)
		}
	}
}

// scan reads to the end of the stream.
func (p *appender) scan(ctx context.Context, s *search) error {
	for {
		page, err := p.d.Range(ctx, s.name, s.at.next().String(), "+", resolvePage)
		if err != nil {
			return err
		}
		for _, e := range page {
			id, ok := parseEntryID(e.ID)
			if !ok {
				return fmt.Errorf("redisadapter: id of an entry: %q", e.ID)
			}
			s.at = id
			if i := p.match(s, e); i >= 0 {
				s.ids[i], s.found = e.ID, i+1
			}
		}
		if len(page) < resolvePage {
			return nil
		}
	}
}

// match gives the index of the entry that e is, behind those that were found, or -1. What was acknowledged is none of
// them.
func (p *appender) match(s *search, e Entry) int {
	if _, ok := p.acked[e.ID]; ok {
		return -1
	}
	for i := s.found; i < len(s.entries); i++ {
		if slices.Equal(s.entries[i].Fields, e.Fields) {
			return i
		}
	}
	return -1
}

func (p *appender) checkTrimmed(ctx context.Context, s *search) error {
	if !slices.Contains(s.ids, "") {
		return nil
	}
	info, err := p.d.Info(ctx, s.name)
	if err != nil {
		return err
	}
	// A stream that is shorter than its limit was not trimmed, but is a new one.
	first, ok := parseEntryID(info.FirstID)
	s.trimmed = ok && s.from != (entryID{}) && s.from.next().less(first) && info.Length >= s.entries[0].MaxLen
	return nil
}
