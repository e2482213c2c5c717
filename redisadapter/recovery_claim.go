package redisadapter

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

const (
	// claimLease is how long who has claimed a session may take until its socket goes on.
	claimLease = 2 * time.Second

	// claimPatience is how long others wait for that before they take it for dead: longer, since they see the claim later.
	claimPatience = claimLease + time.Second

	// claimPause is how long they wait between looks.
	claimPause = 20 * time.Millisecond

	// claimTries is how often a session is claimed that its owner writes meanwhile.
	claimTries = 5

	// scriptPause is how long scripts are not tried again where Redis does not allow them.
	scriptPause = time.Minute
)

var (
	errMoving = fmt.Errorf("%w: its server writes it again and again", errTaken)
	errScript = errors.New("redis does not allow EVAL: a session may be restored twice at the same moment")
)

// swapScript stores a value where Redis has the one that it is to replace, or where none is known and Redis has none. It
// gives 1, or what Redis has instead.
const swapScript = `local v = redis.call('GET', KEYS[1])
if v == ARGV[1] or not v and ARGV[1] == '' then
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
end
return v or ''`

// swap is one run of swapScript.
type swap struct {
	key, old, value string
	ttl             time.Duration
}

// swapped is what came of it: done, or the value that is there instead, "" where there is none.
type swapped struct {
	done  bool
	value string
	err   error
}

// swap runs swapScript for each. It is false where the driver or Redis does not run scripts.
func (k *keeper) swap(ctx context.Context, batch []swap) ([]swapped, bool) {
	c, ok := k.d.(Commander)
	if !ok || time.Since(k.made).Nanoseconds() < k.noScripts.Load() {
		return nil, false
	}
	commands := make([]Command, len(batch))
	for i, s := range batch {
		ttl := strconv.FormatInt(max(1, s.ttl.Milliseconds()), 10)
		commands[i] = Command{Key: s.key, Args: []string{"EVAL", swapScript, "1", s.key, s.old, s.value, ttl}}
	}
	replies, errs := c.DoAll(ctx, commands)
	results := make([]swapped, len(batch))
	for i := range results {
		r := &results[i]
		if errs != nil && errs[i] != nil {
			if refusesScripts(errs[i]) {
				k.noScripts.Store((time.Since(k.made) + scriptPause).Nanoseconds())
				k.c.faultAll(faultSession, fmt.Errorf("%w: %w", errScript, errs[i]))
				return nil, false
			}
			r.err = errs[i]
			continue
		}
		switch v := replies[i].(type) {
		case int64:
			r.done = true
		case string:
			r.value = v
		default:
			r.err = fmt.Errorf("%w: a reply of another form than expected", ErrUnavailable)
		}
	}
	return results, true
}

// refusesScripts tells errors of a user without the right, and of a Redis without the command.
func refusesScripts(err error) bool {
	return strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), "unknown command")
}

// newTurn gives what is not guessed nor given twice.
func newTurn() string {
	var b [9]byte
	_, _ = rand.Read(b[:]) // it never returns an error
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ownTurn tells whether what Redis has is of who has the turn: also as it was before, where Redis may have lost what was
// written since.
func ownTurn(value, turn, before, written string) bool {
	s, err := rediswire.ParseSession(value)
	return err == nil && s.Turn != "" && (s.Turn == turn || written == "" && s.Turn == before)
}

// claim is a session that is being restored at this server.
type claim struct {
	done chan struct{} // closed when it is or is not
	won  bool
}

// enter lets one restore a session at a time. Who waited for another that was restored has lost.
func (k *keeper) enter(ctx context.Context, pid string) (leave func(won bool), err error) {
	for {
		k.mu.Lock()
		c := k.claims[pid]
		if c == nil {
			c = &claim{done: make(chan struct{})}
			k.claims[pid] = c
			k.mu.Unlock()
			return func(won bool) {
				k.mu.Lock()
				delete(k.claims, pid)
				k.mu.Unlock()
				c.won = won
				close(c.done)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-c.done:
			if c.won {
				return nil, errTaken
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errTaken, context.Cause(ctx))
		}
	}
}

// awaiting is who waits for another server to restore a session or not.
type awaiting struct {
	turn string
	ends time.Time
}

// wait tells whether it is to be waited on. The error is that the other server has restored it.
func (w *awaiting) wait(s *rediswire.Session) (bool, error) {
	switch {
	case !s.Pending && w.turn != "" && w.turn == s.Turn:
		return false, errTaken
	case !s.Pending:
		return false, nil
	case w.turn != s.Turn:
		w.turn, w.ends = s.Turn, time.Now().Add(claimPatience)
	}
	return time.Now().Before(w.ends), nil
}

// claim makes sure that nobody else restores the session too, and writes that it is this server's before its client knows
// that it is recovered: that may be gone again, to another server, or this one may, before the keeper has come to it.
func (r *restoration) claim(ctx context.Context) error {
	a, k := r.a, r.a.c.sessions
	if r.local != nil {
		var ok bool
		if r.value, ok = k.take(r.local); !ok {
			return errTaken
		}
	}
	next := rediswire.Session{Session: r.s.Session, Turn: newTurn(), Pending: true}
	value, ok := encodeSession(a, &next)
	if ok {
		var err error
		if ok, err = r.swap(ctx, &next, value); err != nil {
			return err
		}
	}
	if !ok {
		if err := r.replace(ctx, &next); err != nil {
			return err
		}
	}
	if old, ok := a.host.Index().Lookup(r.s.ID); ok { // whose client is the one that came back
		a.host.Command(old, adapter.Command{Disconnect: true, CloseConn: true})
	}
	return nil
}

// swap puts the claim in the place of what was found. It is false where that cannot be done.
func (r *restoration) swap(ctx context.Context, next *rediswire.Session, value string) (ok bool, err error) {
	k := r.a.c.sessions
	for range claimTries {
		r.claimed = time.Now()
		sw := swap{key: k.prefix + r.pid, old: r.value, value: value, ttl: k.ttl}
		results, ok := k.swap(ctx, []swap{sw})
		if !ok {
			r.claimed = time.Time{}
			return false, nil
		}
		switch there := results[0]; {
		case there.err != nil:
			return false, fmt.Errorf("%w: session: %w", ErrUnavailable, there.err)
		case there.done:
			r.kept = k.adopt(r.a, next, r.s.Turn, value)
			return true, nil
		case there.value == "":
			return false, errTaken
		case r.local == nil:
			if s, err := rediswire.ParseSession(there.value); err != nil || s.Turn != r.s.Turn || s.Pending {
				return false, errTaken
			}
			return false, errMoving
		case !ownTurn(there.value, r.s.Turn, r.before, r.value):
			return false, errTaken
		default:
			r.value = there.value
		}
	}
	return false, errMoving
}

// replace is swap for where scripts cannot be run: of two that restore a session at the same moment both may win.
func (r *restoration) replace(ctx context.Context, next *rediswire.Session) error {
	a, k := r.a, r.a.c.sessions
	deleted, err := k.d.Delete(ctx, k.prefix+r.pid)
	if err != nil {
		return fmt.Errorf("%w: session: %w", ErrUnavailable, err)
	}
	if !deleted && r.value != "" {
		return errTaken
	}
	next.Pending = false
	value, ok := encodeSession(a, next)
	if !ok {
		return nil
	}
	if errs := k.d.Set(ctx, []Key{{Name: k.prefix + r.pid, Value: value, TTL: k.ttl}}); errs != nil {
		a.l.fault(faultSession, fmt.Errorf("%w: %w", ErrUnavailable, errs[0]))
		return nil
	}
	r.kept = k.adopt(a, next, r.s.Turn, value)
	return nil
}
