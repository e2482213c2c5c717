package goredisdriver

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// slice bounds how long one XREAD waits, so that a Redis that does not answer any more is found out.
const slice = time.Second

// askEvery is how often entries are asked for whose slot is on its way, where a read cannot wait.
const askEvery = 50 * time.Millisecond

var errReply = errors.New("goredisdriver: a reply of another form than expected")

// Append sends an XADD for each entry.
func (d *Driver) Append(ctx context.Context, entries []redisadapter.Append) ([]string, []error) {
	b := batch{cmds: make([]redis.Cmder, len(entries)), keys: make([]string, len(entries))}
	adds := make([]*redis.StringCmd, len(entries))
	for i := range entries {
		e := &entries[i]
		args := make([]any, 0, 6+len(e.Fields))
		args = append(args, "xadd", e.Stream)
		if e.MaxLen > 0 {
			args = append(args, "maxlen", "~", e.MaxLen)
		}
		args = append(args, "*")
		for j := range e.Fields {
			args = append(args, &e.Fields[j])
		}
		adds[i] = redis.NewStringCmd(ctx, args...)
		b.cmds[i], b.keys[i] = adds[i], e.Stream
	}
	errs := d.run(ctx, &b)
	ids := make([]string, len(entries))
	for i, add := range adds {
		if errs == nil || errs[i] == nil {
			ids[i] = add.Val()
		}
	}
	return ids, errs
}

// Set sends a SET with PX for each key.
func (d *Driver) Set(ctx context.Context, keys []redisadapter.Key) []error {
	b := batch{cmds: make([]redis.Cmder, len(keys)), keys: make([]string, len(keys))}
	for i := range keys {
		k := &keys[i]
		b.keys[i] = k.Name
		b.cmds[i] = redis.NewStatusCmd(ctx, "set", &k.Name, &k.Value, "px", max(1, k.TTL.Milliseconds()))
	}
	return d.run(ctx, &b)
}

// Get sends a GET.
func (d *Driver) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	cmd := redis.NewStringCmd(ctx, "get", key)
	switch err := d.one(ctx, key, cmd, true); {
	case errors.Is(err, redis.Nil):
		return "", false, nil
	case err != nil:
		return "", false, err
	}
	return cmd.Val(), true, nil
}

// Delete sends a DEL. It is not sent again when the connection is lost, so that what it tells is true.
func (d *Driver) Delete(ctx context.Context, key string) (bool, error) {
	cmd := redis.NewIntCmd(ctx, "del", key)
	err := d.one(ctx, key, cmd, false)
	return cmd.Val() > 0, err
}

// Range sends an XRANGE.
func (d *Driver) Range(ctx context.Context, stream, first, last string, count int) ([]redisadapter.Entry, error) {
	args := []any{"xrange", stream, first, last}
	if count > 0 {
		args = append(args, "count", count)
	}
	cmd := redis.NewSliceCmd(ctx, args...)
	if err := d.one(ctx, stream, cmd, true); err != nil {
		return nil, err
	}
	return entries(cmd.Val())
}

// Info sends an XINFO STREAM.
func (d *Driver) Info(ctx context.Context, stream string) (redisadapter.StreamInfo, error) {
	cmd := redis.NewXInfoStreamCmd(ctx, stream)
	if err := d.one(ctx, stream, cmd, true); err != nil {
		if isReply(err) && strings.HasSuffix(err.Error(), "no such key") {
			err = nil
		}
		return redisadapter.StreamInfo{}, err
	}
	v := cmd.Val()
	return redisadapter.StreamInfo{
		Length: int(v.Length), FirstID: v.FirstEntry.ID, LastID: v.LastGeneratedID, LastDeleted: v.MaxDeletedEntryID,
	}, nil
}

// reader is the connection that one stream is read over.
type reader struct {
	turn chan struct{} // holds the one token
	l    *line         // of who has the token
	n    *node         // that l leads to
}

func (r *reader) close() {
	if r.l != nil {
		r.l.close()
		r.l = nil
	}
}

func (d *Driver) reader(stream string) (*reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, redisadapter.ErrClosed
	}
	r := d.readers[stream]
	if r == nil {
		r = &reader{turn: make(chan struct{}, 1)}
		r.turn <- struct{}{}
		d.readers[stream] = r
	}
	d.running.Add(1)
	return r, nil
}

// Read sends one XREAD after the other.
func (d *Driver) Read(
	ctx context.Context, stream, after string, count int, block time.Duration,
) ([]redisadapter.Entry, error) {
	r, err := d.reader(stream)
	if err != nil {
		return nil, err
	}
	defer d.running.Done()
	select {
	case <-r.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-d.ctx.Done():
		return nil, redisadapter.ErrClosed
	}
	defer func() { r.turn <- struct{}{} }()
	end := time.Now().Add(block)
	for tries := 0; ; {
		wait := max(min(time.Until(end), slice), time.Millisecond)
		list, err := d.read(ctx, r, stream, after, count, wait)
		if err == nil {
			if len(list) > 0 || time.Until(end) <= 0 {
				return list, nil
			}
			tries = 0
			continue
		}
		addr, moved := redis.IsMovedError(err)
		if moved {
			d.pub.moved(stream, addr)
		}
		tries++
		if ctx.Err() != nil || !moved && !isUndialed(err) || tries >= redirects {
			return nil, err
		}
	}
}

// read sends one XREAD.
func (d *Driver) read(
	ctx context.Context, r *reader, stream, after string, count int, wait time.Duration,
) ([]redisadapter.Entry, error) {
	n, err := d.pub.owner(ctx, stream)
	if err != nil {
		return nil, err
	}
	reused := r.l != nil && r.n == n && r.l.age == n.age.Load()
	if !reused {
		r.close()
		if r.l, err = n.open(ctx); err != nil {
			r.l = nil
			d.refresh(ctx, d.pub)
			return nil, n.fail(err)
		}
		r.n = n
	}
	args := []any{"xread"}
	if count > 0 {
		args = append(args, "count", count)
	}
	cmd := redis.NewSliceCmd(ctx, append(args, "block", wait.Milliseconds(), "streams", stream, after)...)
	err = func() error {
		limited, cancel := context.WithTimeout(ctx, wait+2*time.Second)
		defer cancel()
		defer r.l.closeWith(ctx)()
		return r.l.client.Process(limited, cmd)
	}()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if addr, ok := redis.IsAskError(err); ok {
		cmd = redis.NewSliceCmd(ctx, append(args, "streams", stream, after)...)
		n = d.pub.at(addr)
		if err = n.askThere(ctx, cmd); errors.Is(err, redis.Nil) {
			return nil, sleep(ctx, min(wait, askEvery))
		}
	} else if err != nil && !isReply(err) {
		r.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		d.refresh(ctx, d.pub)
	}
	if err != nil {
		return nil, n.fail(err)
	}
	return streamEntries(cmd.Val())
}

// streamEntries reads the reply of an XREAD of one stream.
func streamEntries(reply []any) ([]redisadapter.Entry, error) {
	if len(reply) != 1 {
		return nil, errReply
	}
	one, _ := reply[0].([]any)
	if len(one) != 2 {
		return nil, errReply
	}
	list, ok := one[1].([]any)
	if !ok {
		return nil, errReply
	}
	return entries(list)
}

// entries leaves out those that were deleted meanwhile, which Redis 6 still lists.
func entries(list []any) ([]redisadapter.Entry, error) {
	es := make([]redisadapter.Entry, 0, len(list))
	for _, e := range list {
		pair, _ := e.([]any)
		if len(pair) != 2 {
			return nil, errReply
		}
		id, ok := pair[0].(string)
		if !ok {
			return nil, errReply
		}
		if pair[1] == nil {
			continue
		}
		values, ok := pair[1].([]any)
		if !ok {
			return nil, errReply
		}
		fields := make([]string, len(values))
		for i, v := range values {
			if fields[i], ok = v.(string); !ok {
				return nil, errReply
			}
		}
		es = append(es, redisadapter.Entry{ID: id, Fields: fields})
	}
	return es, nil
}

// sleep is nil, or why ctx has ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
