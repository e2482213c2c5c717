package identity

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// How often a file of keys is looked at: for each token at most, and for one whose key is not known, which may be signed
// by a new one.
const (
	lookEvery   = 5 * time.Second
	lookUnknown = time.Second
)

// file are the keys in a file. It is looked at when a key is needed, so that nothing runs while nobody connects.
type file struct {
	path string
	log  *slog.Logger
	now  func() time.Time
	keys atomic.Pointer[[]key]

	// For whom has set busy, which is no lock: nobody waits while the file is read.
	busy   atomic.Bool
	looked time.Time
	stamp  stamp
	broken bool
}

// stamp changes when a file is written.
type stamp struct {
	size  int64
	mtime time.Time
}

func openKeys(path string, now func() time.Time, log *slog.Logger) (*file, error) {
	f := &file{path: path, log: log, now: now}
	keys, s, err := f.read()
	if err != nil {
		return nil, fmt.Errorf("identity: keys in %s: %w", path, err)
	}
	f.keys.Store(&keys)
	f.stamp, f.looked = s, now()
	return f, nil
}

func (f *file) read() ([]key, stamp, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return nil, stamp{}, err
	}
	defer func() { _ = r.Close() }() // it was read only
	info, err := r.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	if err != nil {
		return nil, stamp{}, err
	}
	if len(b) > maxKeyFile {
		return nil, stamp{}, errors.New("larger than 1 MiB")
	}
	keys, err := parseKeys(b)
	return keys, stamp{info.Size(), info.ModTime()}, err
}

// current gives the keys. unknown tells that the last ones did not have what was looked for. Who comes while the file is
// read goes on with the keys of before.
func (f *file) current(unknown bool) []key {
	if !f.busy.CompareAndSwap(false, true) {
		return *f.keys.Load()
	}
	defer f.busy.Store(false)
	wait := lookEvery
	if unknown {
		wait = lookUnknown
	}
	now := f.now()
	if now.Sub(f.looked) < wait {
		return *f.keys.Load()
	}
	f.looked = now
	if info, err := os.Stat(f.path); err == nil && (stamp{info.Size(), info.ModTime()}) == f.stamp {
		return *f.keys.Load()
	}
	keys, s, err := f.read()
	switch {
	case err == nil:
		f.keys.Store(&keys)
		f.broken = false
		f.log.Info("keys of tokens read again", slog.String("file", f.path), slog.Int("keys", len(keys)))
	case !f.broken: // said once: the keys of before go on
		f.broken = true
		f.log.Warn("keys of tokens cannot be read again, those of before are kept", slog.String("file", f.path),
			slog.String("error", err.Error()))
	}
	f.stamp = s
	return *f.keys.Load()
}
