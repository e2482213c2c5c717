package rueidisdriver

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/redisadapter"
)

var (
	_ redisadapter.StreamDriver = (*driver)(nil)

	errReply = errors.New("a reply of another form than expected")
)

// Append sends an XADD for each entry.
func (d *driver) Append(ctx context.Context, entries []redisadapter.Append) (ids []string, errs []error) {
	ids = make([]string, len(entries))
	errs = d.run(ctx, batch{
		n: len(entries),
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
func (d *driver) Read(
	ctx context.Context, stream, after string, count int, block time.Duration,
) ([]redisadapter.Entry, error) {
	client, err := d.use()
	if err != nil {
		return nil, err
	}
	// BLOCK 0 is for ever.
	block = max(block, time.Millisecond)
	limited, cancel := context.WithTimeout(ctx, block+d.option.ConnWriteTimeout)
	defer cancel()
	// A command that blocks gets a connection that no other command uses meanwhile.
	r := client.Do(limited, client.B().Xread().Count(int64(count)).Block(block.Milliseconds()).Streams().
		Key(stream).Id(after).Build())
	lists, err := r.AsXReadSlices()
	switch {
	case rueidis.IsRedisNil(err):
		return nil, nil
	case err == nil:
		return entries(lists[stream]), nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return nil, d.fail(err)
}

// Range sends an XRANGE.
func (d *driver) Range(ctx context.Context, stream, first, last string, count int) ([]redisadapter.Entry, error) {
	r, err := d.ask(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Xrange().Key(stream).Start(first).End(last).Count(int64(count)).Build()
	})
	if err != nil {
		return nil, err
	}
	list, err := r.AsXRangeSlices()
	if err != nil {
		return nil, d.fail(err)
	}
	return entries(list), nil
}

// Info sends an XINFO STREAM.
func (d *driver) Info(ctx context.Context, stream string) (redisadapter.StreamInfo, error) {
	r, err := d.ask(ctx, func(b rueidis.Builder) rueidis.Completed { return b.XinfoStream().Key(stream).Build() })
	if err != nil {
		if strings.HasSuffix(refusal(err), "no such key") {
			return redisadapter.StreamInfo{}, nil
		}
		return redisadapter.StreamInfo{}, err
	}
	info, err := streamInfo(r)
	if err != nil {
		return info, d.fail(err)
	}
	return info, nil
}

// Set sends a SET with PX for each key.
func (d *driver) Set(ctx context.Context, keys []redisadapter.Key) []error {
	return d.run(ctx, batch{
		n: len(keys),
		build: func(b rueidis.Builder, i int) rueidis.Completed {
			k := &keys[i]
			return b.Set().Key(k.Name).Value(k.Value).PxMilliseconds(max(1, k.TTL.Milliseconds())).Build()
		},
	})
}

// Get sends a GET.
func (d *driver) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	r, err := d.ask(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Get().Key(key).Build() })
	if rueidis.IsRedisNil(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if value, err = r.ToString(); err != nil {
		return "", false, d.fail(err)
	}
	return value, true, nil
}

// Delete sends a DEL. It is not sent again when the connection is lost, so that what it tells is true.
func (d *driver) Delete(ctx context.Context, key string) (bool, error) {
	var n int64
	errs := d.run(ctx, batch{
		n:     1,
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
