package goredisdriver

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/redisadapter"
)

const redirects = 4 // of one command

// batch is commands that are sent together, in order where they go to one node.
type batch struct {
	cmds []redis.Cmder
	keys []string // what is sharded; "" for what goes to the home
}

// Publish sends the batch in one pipeline, in a Redis Cluster in one to each node that it concerns.
func (d *Driver) Publish(ctx context.Context, messages []redisadapter.Publication) []error {
	b := batch{cmds: make([]redis.Cmder, len(messages)), keys: make([]string, len(messages))}
	args := make([]any, 3*len(messages))
	for i := range messages {
		m := &messages[i]
		a := args[3*i : 3*i+3 : 3*i+3]
		a[0], a[1], a[2] = publish, &m.Channel, m.Payload
		if m.Sharded {
			a[0] = spublish
			b.keys[i] = m.Channel
		}
		b.cmds[i] = redis.NewIntCmd(ctx, a...)
	}
	return d.run(ctx, &b)
}

// What commands begin with, made once.
var publish, spublish any = "publish", "spublish"

// run sends a batch. It gives nil, or for each command nil or an error, which wraps ErrNotSent where Redis certainly has
// not done it.
func (d *Driver) run(ctx context.Context, b *batch) []error {
	if d.ctx.Err() != nil {
		return all(len(b.cmds), notSent(redisadapter.ErrClosed))
	}
	r := &run{d: d, b: b}
	if !d.pub.sharded() || b.homely() {
		n, err := d.pub.home(ctx)
		if err != nil {
			return all(len(b.cmds), notSent(err))
		}
		r.sendAll(ctx, n)
		return r.errs
	}
	todo := make([]int, len(b.cmds))
	for i := range todo {
		todo[i] = i
	}
	for range redirects {
		if todo = r.round(ctx, todo); len(todo) == 0 {
			break
		}
	}
	for _, i := range todo {
		r.fail(i, notSent(b.cmds[i].Err()))
	}
	return r.errs
}

func (b *batch) homely() bool {
	for _, k := range b.keys {
		if k != "" {
			return false
		}
	}
	return true
}

func all(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// run is a batch under way.
type run struct {
	d *Driver
	b *batch

	mu   sync.Mutex
	errs []error // nil while there is none
	left []int   // to be sent again
}

func (r *run) fail(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errs == nil {
		r.errs = make([]error, len(r.b.cmds))
	}
	r.errs[i] = err
}

// sendAll sends everything to one node, which is right whatever it answers.
func (r *run) sendAll(ctx context.Context, n *node) {
	if err := n.send(ctx, r.b.cmds); err != nil {
		r.errs = all(len(r.b.cmds), notSent(n.fail(err)))
		r.gone(ctx, n)
		return
	}
	lost := false
	for i, cmd := range r.b.cmds {
		if err := cmd.Err(); err != nil {
			r.settle(i, n, err)
			lost = lost || !isReply(err)
		}
	}
	if lost {
		r.gone(ctx, n)
	}
}

// gone has another node chosen than one that did not answer, where there is one.
func (r *run) gone(ctx context.Context, n *node) {
	r.d.pub.lost(n)
	r.d.refresh(ctx, r.d.pub)
}

// settle notes the error of one command.
func (r *run) settle(i int, n *node, err error) {
	failed := n.fail(err)
	if isUndialed(err) || refused(err) {
		failed = notSent(failed)
	}
	r.fail(i, failed)
}

// round sends commands to the nodes that they belong to, and gives those that belong elsewhere.
func (r *run) round(ctx context.Context, todo []int) []int {
	var nodes []*node
	parts := map[*node][]int{}
	for _, i := range todo {
		n, err := r.node(ctx, i)
		if err != nil {
			r.fail(i, notSent(err))
			continue
		}
		if parts[n] == nil {
			nodes = append(nodes, n)
		}
		parts[n] = append(parts[n], i)
	}
	r.left = nil
	_ = each(nodes, func(n *node) error { // r has the errors
		r.part(ctx, n, parts[n])
		return nil
	})
	return r.left
}

func (r *run) node(ctx context.Context, i int) (*node, error) {
	if key := r.b.keys[i]; key != "" {
		return r.d.pub.owner(ctx, key)
	}
	return r.d.pub.home(ctx)
}

// part sends the commands that belong to one node.
func (r *run) part(ctx context.Context, n *node, list []int) {
	cmds := make([]redis.Cmder, len(list))
	for j, i := range list {
		cmds[j] = r.b.cmds[i]
		cmds[j].SetErr(nil)
	}
	if err := n.send(ctx, cmds); err != nil {
		for _, i := range list {
			r.fail(i, notSent(n.fail(err)))
		}
		r.gone(ctx, n)
		return
	}
	lost := false
	for j, i := range list {
		err := cmds[j].Err()
		if err == nil {
			continue
		}
		if addr, ok := redis.IsMovedError(err); ok && r.b.keys[i] != "" {
			r.d.pub.moved(r.b.keys[i], addr)
			r.mu.Lock()
			r.left = append(r.left, i)
			r.mu.Unlock()
			continue
		}
		if addr, ok := redis.IsAskError(err); ok {
			there := r.d.pub.at(addr)
			if err = there.askThere(ctx, cmds[j]); err != nil {
				r.settle(i, there, err)
			}
			continue
		}
		r.settle(i, n, err)
		lost = lost || !isReply(err)
	}
	if lost {
		r.gone(ctx, n)
	}
}

// one says one command about a key, at the node that has it. again allows to say it again where it is not known whether
// Redis has got it.
func (d *Driver) one(ctx context.Context, key string, cmd redis.Cmder, again bool) error {
	if d.ctx.Err() != nil {
		return redisadapter.ErrClosed
	}
	var last error
	for range redirects {
		n, err := d.pub.owner(ctx, key)
		if err != nil {
			return err
		}
		cmd.SetErr(nil)
		err = n.ask(ctx, cmd, again)
		if addr, ok := redis.IsAskError(err); ok {
			n = d.pub.at(addr)
			err = n.askThere(ctx, cmd)
		}
		if err == nil || err == redis.Nil { //nolint:errorlint // a reply is not wrapped
			return err
		}
		last = n.fail(err)
		if addr, ok := redis.IsMovedError(err); ok {
			d.pub.moved(key, addr)
			continue
		}
		if isReply(err) || ctx.Err() != nil || !again || !d.pub.sharded() {
			break
		}
		d.refresh(ctx, d.pub) // another node may have the key by now
	}
	return last
}

// refresh looks who owns what; where nobody says, what was known is as good as before.
func (d *Driver) refresh(ctx context.Context, p place) { _ = p.reload(ctx) }
