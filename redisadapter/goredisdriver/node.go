package goredisdriver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

const maxIdle = 8 // connections for questions that are kept

// node is one Redis: what is said in order over one connection, and questions over as many as are asked at once.
type node struct {
	d        *Driver
	o        redis.Options
	name     string // for errors
	sentinel bool   // what is dialed may be another one each time
	replica  bool   // may be one

	age atomic.Uint64 // connections that are older lead to the wrong place

	turn    chan struct{} // holds the one token
	ordered *line         // of who has the token

	mu     sync.Mutex
	idle   []*line
	closed bool
}

func newNode(d *Driver, o redis.Options) *node {
	n := &node{d: d, o: o, name: o.Addr, turn: make(chan struct{}, 1)}
	if o.Addr == "FailoverClient" { // what redis.NewFailoverClient calls it
		n.sentinel = true
		n.name = "the master that sentinel knows"
	}
	n.turn <- struct{}{}
	return n
}

// fail adds the address to an error.
func (n *node) fail(err error) error {
	return fmt.Errorf("goredisdriver: redis at %s: %w", n.name, err)
}

// open makes a connection that Redis has answered on.
func (n *node) open(ctx context.Context) (*line, error) {
	age := n.age.Load()
	l, err := n.d.open(ctx, &n.o)
	if err != nil {
		return nil, err
	}
	l.age = age
	if err := l.hello(ctx); err != nil {
		l.close()
		return nil, &undialed{ended(ctx, err)}
	}
	return l, nil
}

// send says the commands in one pipeline, after all that was sent before. With an error none was sent. Otherwise each
// command has its own.
func (n *node) send(ctx context.Context, cmds []redis.Cmder) error {
	select {
	case <-n.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.d.ctx.Done():
		return redisadapter.ErrClosed
	}
	defer func() { n.turn <- struct{}{} }()
	if err := n.ready(ctx); err != nil {
		return err
	}
	l := n.ordered
	defer l.closeWith(ctx)()
	before := l.c.wrote.Load()
	err := exec(ctx, l.client, cmds)
	l.used = time.Now()
	if err == nil {
		return nil
	}
	switch {
	case !isReply(err):
		l.close()
		n.ordered = nil
		if l.c.wrote.Load() == before {
			return err
		}
	case wrongPlace(cmds):
		l.close() // another one may be the master when it is dialed anew
		n.ordered = nil
	}
	return nil
}

func exec(ctx context.Context, c *redis.Client, cmds []redis.Cmder) error {
	p := c.Pipeline()
	for _, cmd := range cmds {
		_ = p.Process(ctx, cmd) // it only notes it
	}
	_, err := p.Exec(ctx)
	return err
}

// ready has the connection for send there.
func (n *node) ready(ctx context.Context) error {
	if l := n.ordered; l != nil && (l.age != n.age.Load() || l.doubtful() && l.hello(ctx) != nil) {
		l.close()
		n.ordered = nil
	}
	if n.ordered != nil {
		return nil
	}
	l, err := n.open(ctx)
	if err != nil {
		return err
	}
	n.ordered = l
	return nil
}

// ask says one command over a connection of its own, behind ASKING where asking is set. again allows to say it again
// where a connection turned out to be lost.
func (n *node) ask(ctx context.Context, cmd redis.Cmder, again bool) error {
	err := n.askOnce(ctx, cmd)
	if err != nil && !isReply(err) && ctx.Err() == nil && (again || isUndialed(err)) {
		cmd.SetErr(nil)
		err = n.askOnce(ctx, cmd)
	}
	return err
}

func (n *node) askOnce(ctx context.Context, cmds ...redis.Cmder) error {
	for l := n.take(); l != nil; l = n.take() {
		if err := n.askOver(ctx, l, cmds); !isUndialed(err) {
			return err
		}
		// It was lost while it was idle.
	}
	l, err := n.open(ctx)
	if err != nil {
		return err
	}
	return n.askOver(ctx, l, cmds)
}

func (n *node) askOver(ctx context.Context, l *line, cmds []redis.Cmder) error {
	release := l.closeWith(ctx)
	err := exec(ctx, l.client, cmds)
	if !release() || err != nil && !isReply(err) {
		l.close()
		return ended(ctx, err)
	}
	n.put(l)
	return err
}

// askThere says a command about a key whose slot is on its way to this node.
func (n *node) askThere(ctx context.Context, cmd redis.Cmder) error {
	cmd.SetErr(nil)
	asking := redis.NewStatusCmd(ctx, "asking")
	if err := n.askOnce(ctx, asking, cmd); err != nil && !isReply(err) {
		return err
	}
	return cmd.Err()
}

func (n *node) take() *line {
	for {
		n.mu.Lock()
		if len(n.idle) == 0 {
			n.mu.Unlock()
			return nil
		}
		l := n.idle[len(n.idle)-1]
		n.idle = n.idle[:len(n.idle)-1]
		n.mu.Unlock()
		if l.age == n.age.Load() && !l.doubtful() {
			return l
		}
		l.close()
	}
}

func (n *node) put(l *line) {
	l.used = time.Now()
	n.mu.Lock()
	if keep := !n.closed && len(n.idle) < maxIdle; keep {
		n.idle = append(n.idle, l)
		l = nil
	}
	n.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// follows tells whether it gets what its master gets, as far as one may know: INFO can be forbidden.
func (n *node) follows(ctx context.Context) bool {
	if !n.replica {
		return true
	}
	info := redis.NewStringCmd(ctx, "info", "replication")
	err := n.ask(ctx, info, true)
	return err != nil || !strings.Contains(info.Val(), "master_link_status:down")
}

// leave makes all connections that exist be made anew before they are used again.
func (n *node) leave() { n.age.Add(1) }

// close closes the connections. Nobody sends or asks any more.
func (n *node) close() {
	n.mu.Lock()
	n.closed = true
	idle := n.idle
	n.idle = nil
	n.mu.Unlock()
	for _, l := range idle {
		l.close()
	}
	<-n.turn
	if n.ordered != nil {
		n.ordered.close()
		n.ordered = nil
	}
	n.turn <- struct{}{}
}

// ended is why ctx has ended, where that may be what the error of a connection comes from.
func ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	// The deadline of the connection may come a little earlier than that of ctx.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return err
}

// isReply tells whether Redis has answered with the error, or with nil.
func isReply(err error) bool {
	var e redis.Error
	return errors.As(err, &e)
}

// refused tells whether Redis has refused a command that it, or another node, may accept later.
func refused(err error) bool {
	var e redis.Error
	return errors.As(err, &e) && (redisproto.Passing(e.Error()) || redisproto.Redirected(e.Error()))
}

// wrongPlace tells whether a Redis has refused a command that another one would take.
func wrongPlace(cmds []redis.Cmder) bool {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil &&
			(redis.IsReadOnlyError(err) || redis.IsNoReplicasError(err) || redis.IsMasterDownError(err)) {
			return true
		}
	}
	return false
}
