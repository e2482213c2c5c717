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

// source are keys that are kept elsewhere. It is looked at when a key is needed, so that nothing runs while nobody
// connects.
type source struct {
	name    string // for the log
	log     *slog.Logger
	now     func() time.Time
	every   time.Duration // how old keys may be
	unknown time.Duration // the same for a token whose key is not known, as it may be signed by a new one

	// read gives the keys, or nil where they are what they were.
	read func() ([]key, error)

	keys atomic.Pointer[[]key]

	// For whom has set busy, which is no lock: nobody waits while keys are read.
	busy   atomic.Bool
	looked time.Time
	broken bool
}

// open reads the keys for the first time.
func (s *source) open() error {
	keys, err := s.read()
	if err != nil {
		return fmt.Errorf("identity: keys of %s: %w", s.name, err)
	}
	s.keys.Store(&keys)
	s.looked = s.now()
	return nil
}

// current gives the keys. unknown tells that the last ones did not have what was looked for. Who comes while they are
// read goes on with those of before.
func (s *source) current(unknown bool) []key {
	if !s.busy.CompareAndSwap(false, true) {
		return *s.keys.Load()
	}
	defer s.busy.Store(false)
	wait := s.every
	if unknown {
		wait = s.unknown
	}
	now := s.now()
	if now.Sub(s.looked) < wait {
		return *s.keys.Load()
	}
	s.looked = now
	keys, err := s.read()
	switch {
	case err != nil && !s.broken: // said once: the keys of before go on
		s.broken = true
		s.log.Warn("keys of tokens cannot be read again, those of before are kept", slog.String("from", s.name),
			slog.String("error", err.Error()))
	case err == nil && keys != nil:
		s.keys.Store(&keys)
		s.broken = false
		s.log.Info("keys of tokens read again", slog.String("from", s.name), slog.Int("keys", len(keys)))
	}
	return *s.keys.Load()
}

// How often a file of keys is looked at.
const (
	fileEvery   = 5 * time.Second
	fileUnknown = time.Second
)

// fileSource are the keys in a file.
func fileSource(path string, now func() time.Time, log *slog.Logger) *source {
	f := &file{path: path}
	return &source{name: path, log: log, now: now, every: fileEvery, unknown: fileUnknown, read: f.read}
}

// file reads a file when it has changed.
type file struct {
	path  string
	size  int64
	mtime time.Time
}

func (f *file) read() ([]key, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was read only
	info, err := r.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == f.size && info.ModTime().Equal(f.mtime) {
		return nil, nil
	}
	b, err := readAll(r)
	if err != nil {
		return nil, err
	}
	f.size, f.mtime = info.Size(), info.ModTime()
	return parseKeys(b)
}

// readAll reads keys, which are not large.
func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	if err == nil && len(b) > maxKeyFile {
		err = errors.New("larger than 1 MiB")
	}
	return b, err
}
