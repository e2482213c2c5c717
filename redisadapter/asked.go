package redisadapter

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

const (
	maxRemoteAsks     = 10_000
	defaultAskTimeout = time.Minute // where the asking server did not say
)

// remoteAsk is a question of another server to sockets here.
type remoteAsk struct {
	timer *time.Timer
	stop  func() // nil until it is known
}

// askHere delivers p, asks the sockets here for acknowledgements and hands them on as they come. It does so until timeout,
// after which the asking server does not wait any more; 0 is where it did not say. key tells questions apart: counted and
// answer are not called for one that is known already. With an error they are not called either.
func (a *asker) askHere(
	key string, timeout time.Duration, p *parser.Packet, o adapter.Options, counted func(int), answer func([]parser.Arg),
) error {
	k, err := a.remember(key, timeout)
	if err != nil {
		if errors.Is(err, errAskedAlready) {
			return nil
		}
		return err
	}
	stop, err := a.Ask(p, o, adapter.Question{
		Counted: counted,
		Answer:  func(x adapter.Answer) { answer(x.Args) },
		Done:    func() { a.forget(key, k) },
	})
	if err != nil {
		a.forget(key, k)
		return err
	}
	a.mu.Lock()
	k.stop = stop
	kept := a.asked[key] == k
	a.mu.Unlock()
	if !kept {
		stop()
	}
	return nil
}

var (
	errAskedAlready = errors.New("redisadapter: asked already")
	errTooManyAsks  = errors.New("redisadapter: too many broadcasts wait for acknowledgements")
)

// remember keeps a question until forget, or until the asking server does not wait any more.
func (a *asker) remember(key string, timeout time.Duration) (*remoteAsk, error) {
	if timeout <= 0 {
		timeout = defaultAskTimeout
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.asked == nil:
		return nil, adapter.ErrClosed
	case a.asked[key] != nil:
		return nil, errAskedAlready
	case len(a.asked) >= maxRemoteAsks:
		return nil, errTooManyAsks
	}
	k := &remoteAsk{}
	k.timer = time.AfterFunc(timeout, func() { a.forget(key, k) })
	a.asked[key] = k
	return k, nil
}

func (a *asker) forget(key string, k *remoteAsk) {
	a.mu.Lock()
	if a.asked[key] != k {
		a.mu.Unlock()
		return
	}
	delete(a.asked, key)
	a.mu.Unlock()
	a.end(k)
}

func (a *asker) end(k *remoteAsk) {
	k.timer.Stop()
	a.mu.Lock()
	stop := k.stop
	a.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// once makes a function that does no more than the first call, and none after Close.
func (a *asker) once(f func(args []parser.Arg)) func(args []parser.Arg) {
	var called atomic.Bool
	return func(args []parser.Arg) {
		if !called.Swap(true) && !a.closed.Load() {
			f(args)
		}
	}
}

// selected describes the sockets here that t selects.
func (a *asker) selected(t rediswire.Target) []adapter.Remote {
	var sockets []adapter.Remote
	if !t.Nobody {
		for _, m := range a.host.Index().Collect(t.Options) {
			sockets = append(sockets, a.host.Describe(m))
		}
	}
	return sockets
}

// maxRoomName is the longest name of a room that a socket here joins, in bytes.
const maxRoomName = 512

var (
	// ErrRoomName is returned where a room is named that other servers cannot be told of, since its name is not UTF-8.
	ErrRoomName = errors.New("redisadapter: room name is not UTF-8")

	errLongName = errors.New("redisadapter: room name too long")
)

// checkRooms refuses names that would arrive as others.
func checkRooms(t rediswire.Target, rooms []string) error {
	for _, list := range [][]string{t.Rooms, t.Except, rooms} {
		for _, r := range list {
			if !utf8.ValidString(r) {
				return ErrRoomName
			}
		}
	}
	return nil
}

func longName(room string) bool { return len(room) > maxRoomName }

// obey makes the sockets here that t selects join, leave or disconnect. Rooms whose names are too long are skipped, with
// an error.
func (a *asker) obey(c adapter.Command, t rediswire.Target) (err error) {
	if slices.ContainsFunc(c.Join, longName) {
		c.Join, err = slices.DeleteFunc(slices.Clone(c.Join), longName), errLongName
	}
	if t.Nobody || !c.Disconnect && len(c.Join) == 0 && len(c.Leave) == 0 {
		return err
	}
	for _, m := range a.host.Index().Collect(t.Options) {
		a.host.Command(m, c)
	}
	return err
}
