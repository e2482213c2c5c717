package redisadapter

import (
	"context"
	"time"
)

// StreamDriver is a Driver that also keeps streams and keys, as the adapter of streams needs them. What it reads, it reads
// from masters.
type StreamDriver interface {
	Driver

	// Append adds the entries, each at the end of its stream and in order where they share one. It gives their ids, and
	// nil or for each entry nil or why it is not known to be there, as Publish does. The memory of the result is the
	// caller's.
	Append(ctx context.Context, batch []Append) (ids []string, errs []error)

	// Read gives up to count entries after an id, the oldest first, as soon as there is one. It gives none, and no error,
	// when there is none within block. Each stream is read over a connection of its own, which only Read uses.
	Read(ctx context.Context, stream, after string, count int, block time.Duration) ([]Entry, error)

	// Range gives up to count entries with ids from first to last, both included, the oldest first. "-" and "+" are the
	// lowest and the highest id.
	Range(ctx context.Context, stream, first, last string, count int) ([]Entry, error)

	// Info describes a stream; the zero StreamInfo where it does not exist.
	Info(ctx context.Context, stream string) (StreamInfo, error)

	// Set stores keys. It gives nil, or for each key nil or why it is not known to be stored.
	Set(ctx context.Context, batch []Key) []error

	// Get gives the value of a key; ok is false where there is none.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// Delete deletes a key and tells whether it was there.
	Delete(ctx context.Context, key string) (bool, error)
}

// Append is one entry to be added to a stream. Redis gives it its id.
type Append struct {
	Stream string
	MaxLen int      // of the stream, about; 0 = no limit
	Fields []string // names and values in turn; they do not change any more
}

// Entry is one entry of a stream.
type Entry struct {
	ID     string   // <milliseconds>-<sequence>
	Fields []string // names and values in turn
}

// StreamInfo describes a stream.
type StreamInfo struct {
	Length      int
	FirstID     string // of the oldest entry that is there; "" where there is none
	LastID      string // the highest id that the stream ever had, "0-0" where it had none; "" where it does not exist
	LastDeleted string // the highest id that was deleted by command, where Redis says so (from 7.0); trimming does not count
}

// Key is a key to be stored with its value.
type Key struct {
	Name, Value string
	TTL         time.Duration // at least 1 ms
}
