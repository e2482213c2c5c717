package rueidisdriver

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

var (
	_ redisadapter.StreamDriver = (*Driver)(nil)

	errReply = errors.New("a reply of another form than expected")
)

// Append sends an XADD for each entry.
func (d *Driver) Append(ctx context.Context, entries []redisadapter.Append) (ids []string, errs []error) {
	ids = make([]string, len(entries))
	errs = d.run(ctx, batch{
		n:   len(entries),
		key: func(i int) (string, bool) { return entries[i].Stream, true },
		build: func(b rueidis.Builder, i int) rueidis.Completed {
			e := &entries[i]
			c := b.Arbitrary("XADD").Keys(e.Stream)
			if e.MaxLen > 0 {
				c = c.Args("MAXLEN", "~", strconv.Itoa(e.MaxLen))
			}
			return c.Args("*").Args(e.Fields...).Build()
		},
		take: func(i int, r rueidis.RedisResult) (err error) {
			ids[i], err = r.ToString()
			return err
		},
	})
	return ids, errs
}

// Read sends an XREAD. Where Redis does not answer, it gives up a while after the end of block.
func (d *Driver) Read(
	ctx context.Context, stream, after string, count int, block time.Duration,
) ([]redisadapter.Entry, error) {
	n, err := d.at(ctx, stream)
	if err != nil {
		return nil, err
	}
	block = max(block, time.Millisecond) // BLOCK 0 is for ever
	asking := false
	for range 3 {
		var es []redisadapter.Entry
		es, err = n.read(ctx, stream, after, count, block, asking)
		if err == nil {
			return es, nil
		}
		if ctx.Err() != nil {
			return nil, n.fail(context.Cause(ctx))
		}
		err = n.fail(err)
		if d.cluster == nil {
			break
		}
		other, ask := d.cluster.follow(n, redisproto.Slot(stream), err)
		if other == nil {
			_ = d.cluster.learn(ctx, nil, d.cluster.seen()) // what is known stays, for the next time
			break
		}
		n, asking = other, ask
	}
	return nil, err
}

func (n *node) read(
	ctx context.Context, stream, after string, count int, block time.Duration, asking bool,
) ([]redisadapter.Entry, error) {
	client, err := n.dedicated()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, block+n.option.ConnWriteTimeout)
	defer cancel()
	// A command that blocks gets a connection that no other command uses meanwhile.
	b := client.B()
	commands := []rueidis.Completed{
		b.Xread().Count(int64(count)).Block(block.Milliseconds()).Streams().Key(stream).Id(after).Build(),
	}
	if asking {
		commands = slices.Insert(commands, 0, b.Asking().Build())
	}
	results := client.DoMulti(ctx, commands...)
	lists, err := results[len(results)-1].AsXReadSlices()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return entries(lists[stream]), err
}

// Range sends an XRANGE.
func (d *Driver) Range(
	ctx context.Context, stream, first, last string, count int,
) (list []redisadapter.Entry, err error) {
	err = d.ask(ctx, stream, func(b rueidis.Builder) rueidis.Completed {
		return b.Xrange().Key(stream).Start(first).End(last).Count(int64(count)).Build()
	}, func(r rueidis.RedisResult) error {
		found, err := r.AsXRangeSlices()
		list = entries(found)
		return err
	})
	return list, err
}

// Info sends an XINFO STREAM.
func (d *Driver) Info(ctx context.Context, stream string) (info redisadapter.StreamInfo, err error) {
	err = d.ask(ctx, stream, func(b rueidis.Builder) rueidis.Completed {
		return b.XinfoStream().Key(stream).Build()
	}, func(r rueidis.RedisResult) (err error) {
		info, err = streamInfo(r)
		return err
	})
	if strings.HasSuffix(refusal(err), "no such key") {
		return redisadapter.StreamInfo{}, nil
	}
	return info, err
}

// Set sends a SET with PX for each key.
func (d *Driver) Set(ctx context.Context, keys []redisadapter.Key) []error {
	return d.run(ctx, batch{
		n:   len(keys),
		key: func(i int) (string, bool) { return keys[i].Name, true },
		build: func(b rueidis.Builder, i int) rueidis.Completed {
			k := &keys[i]
			return b.Set().Key(k.Name).Value(k.Value).PxMilliseconds(max(1, k.TTL.Milliseconds())).Build()
		},
	})
}

// Get sends a GET.
func (d *Driver) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	err = d.ask(ctx, key, func(b rueidis.Builder) rueidis.Completed {
		return b.Get().Key(key).Build()
	}, func(r rueidis.RedisResult) (err error) {
		value, err = r.ToString()
		ok = err == nil
		if rueidis.IsRedisNil(err) {
			return nil
		}
		return err
	})
	return value, ok, err
}

// Delete sends a DEL. It is not sent again when the connection is lost, so that what it tells is true.
func (d *Driver) Delete(ctx context.Context, key string) (bool, error) {
	var n int64
	errs := d.run(ctx, batch{
		n:     1,
		key:   func(int) (string, bool) { return key, true },
		build: func(b rueidis.Builder, _ int) rueidis.Completed { return b.Del().Key(key).Build() },
		take: func(_ int, r rueidis.RedisResult) (err error) {
			n, err = r.AsInt64()
			return err
		},
	})
	if errs != nil {
		return false, errs[0]
	}
	return n > 0, nil
}

// entries leaves out those that were deleted meanwhile, which Redis 6 still lists.
func entries(list []rueidis.XRangeSlice) []redisadapter.Entry {
	es := make([]redisadapter.Entry, 0, len(list))
	for _, e := range list {
		if e.FieldValues == nil {
			continue
		}
		fields := make([]string, 0, 2*len(e.FieldValues))
		for _, f := range e.FieldValues {
			fields = append(fields, f.Field, f.Value)
		}
		es = append(es, redisadapter.Entry{ID: e.ID, Fields: fields})
	}
	return es
}

func streamInfo(r rueidis.RedisResult) (info redisadapter.StreamInfo, err error) {
	values, err := r.AsMap()
	if err != nil {
		return info, err
	}
	length, last := values["length"], values["last-generated-id"]
	n, err := length.AsInt64()
	if err != nil {
		return info, err
	}
	if info.LastID, err = last.ToString(); err != nil {
		return info, err
	}
	info.Length = int(n)
	if deleted, ok := values["max-deleted-entry-id"]; ok {
		if info.LastDeleted, err = deleted.ToString(); err != nil {
			return info, err
		}
	}
	first, ok := values["first-entry"]
	if !ok || first.IsNil() {
		return info, nil
	}
	entry, err := first.ToArray()
	if err != nil || len(entry) == 0 {
		return info, errors.Join(errReply, err)
	}
	info.FirstID, err = entry[0].ToString()
	return info, err
}
