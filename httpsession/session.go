package httpsession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Session is the session of a socket or request. Handlers of events find it by [From]. Reading it needs no call of the store
// where that was done before the handler; otherwise the first method that needs it reads it. All methods of a nil Session give
// ErrNoSession. It is for one goroutine at a time: one that outlives its handler takes [Sessions.Of] and saves itself.
type Session struct {
	m    *Sessions
	ref  Ref
	open bool   // whether a socket has it
	rec  Record // nil until it is read
}

type sessionKey struct{}

// From gives the session of a handler's context; nil where there is none: for an anonymous socket, and outside of handlers of
// namespaces that have sessions. Elsewhere there is [Sessions.Of].
//
// Node: socket.request.session
func From(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// Ref names the session; the zero Ref for a nil Session.
func (s *Session) Ref() Ref {
	if s == nil {
		return Ref{}
	}
	return s.ref
}

// load reads the session if that has not been done.
func (s *Session) load(ctx context.Context) (Record, error) {
	switch {
	case s == nil:
		return nil, ErrNoSession
	case s.rec != nil:
		return s.rec, nil
	}
	limited, cancel := s.m.limit(ctx)
	defer cancel()
	rec, err := s.m.backend.Load(limited, s.ref)
	if err != nil {
		if s.open && errors.Is(err, ErrNoSession) {
			s.m.ended(ctx, s.ref)
		}
		return nil, err
	}
	s.rec = rec
	return rec, nil
}

// Get stores the value of a key in dst, a pointer, and tells whether there is one. Errors: ErrNoSession, those of the store, and
// of a value of another type.
func (s *Session) Get(ctx context.Context, key string, dst any) (bool, error) {
	rec, err := s.load(ctx)
	if err != nil {
		return false, err
	}
	return rec.Get(key, dst)
}

// Set changes the value of a key. It is written after the handler, or by Save.
func (s *Session) Set(ctx context.Context, key string, v any) error {
	rec, err := s.load(ctx)
	if err != nil {
		return err
	}
	return rec.Set(key, v)
}

// Delete takes a key out of the session. That is written after the handler, or by Save.
func (s *Session) Delete(ctx context.Context, key string) error {
	rec, err := s.load(ctx)
	if err != nil {
		return err
	}
	return rec.Delete(key)
}

// Text gives a string or number of the session as text. path is a key, or keys of objects inside each other with dots between,
// as "passport.user"; it is false if there is no such value, or it is empty or something else.
func (s *Session) Text(ctx context.Context, path string) (string, bool, error) {
	rec, err := s.load(ctx)
	if err != nil {
		return "", false, err
	}
	var v any
	keys := []string{path}
	found, err := rec.Get(path, &v)
	if !found && err == nil {
		keys = strings.Split(path, ".")
		_, err = rec.Get(keys[0], &v)
	}
	if err != nil {
		return "", false, err
	}
	for _, k := range keys[1:] {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	text := ""
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		text = fmt.Sprint(v)
	}
	return text, text != "", nil
}

// Save writes the changes now, as is done after a handler: in what others may have written meanwhile only the keys that were set
// or deleted change. Errors: ErrNoSession if the session has ended, which also disconnects its sockets, ErrConflict, and those of
// the store. A context that has ended does not stop it.
func (s *Session) Save(ctx context.Context) error {
	if s == nil {
		return ErrNoSession
	}
	if s.rec == nil {
		return nil
	}
	ctx, cancel := s.m.limit(context.WithoutCancel(ctx))
	defer cancel()
	err := s.rec.Save(ctx, true)
	if errors.Is(err, ErrNoSession) {
		s.m.ended(ctx, s.ref)
	}
	return err
}

// Reload drops changes that are not written, and has the session read again.
func (s *Session) Reload(ctx context.Context) error {
	if s == nil {
		return ErrNoSession
	}
	s.rec = nil
	_, err := s.load(ctx)
	return err
}

// updates is how often Update begins again.
const updates = 16

// Update reads the session, calls f, and writes what f has changed if nobody has written the session since it was read; else it
// begins again. So f may compute new values from old ones; it may be called several times. Changes made before are dropped.
// Errors: that of f, after which nothing is written, ErrConflict when it did not succeed 16 times, and those of Save.
func (s *Session) Update(ctx context.Context, f func(s *Session) error) error {
	for range updates {
		if err := s.Reload(ctx); err != nil {
			return err
		}
		if err := f(s); err != nil {
			s.rec = nil
			return err
		}
		err := s.rewrite(ctx)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		s.rec = nil
	}
	return ErrConflict
}

func (s *Session) rewrite(ctx context.Context) error {
	ctx, cancel := s.m.limit(ctx)
	defer cancel()
	rec, err := s.load(ctx) // f may have reloaded it
	if err == nil {
		err = rec.Save(ctx, false)
	}
	if errors.Is(err, ErrNoSession) {
		s.m.ended(ctx, s.ref)
	}
	return err
}

// Destroy ends the session, as a logout does, and disconnects its sockets on every server, this one's too.
func (s *Session) Destroy(ctx context.Context) error {
	if s == nil {
		return ErrNoSession
	}
	ctx, cancel := s.m.limit(context.WithoutCancel(ctx))
	defer cancel()
	s.rec = nil
	if err := s.m.backend.Delete(ctx, s.ref); err != nil {
		return err
	}
	return s.m.Disconnect(ctx, s.ref.Key)
}

// Context gives ctx with what the library of the session needs of it: with scssession, for the methods of its SessionManager. In
// handlers ctx has it already, unless Config.Lazy.
func (s *Session) Context(ctx context.Context) (context.Context, error) {
	rec, err := s.load(ctx)
	if err != nil {
		return ctx, err
	}
	if c, ok := rec.(Contexter); ok {
		ctx = c.Context(ctx)
	}
	return ctx, nil
}

// Key is the name of a value of type T, for handlers.
type Key[T any] string

// Get gives the value that the session of a handler's context has, and whether there is one. Errors are those of Session.Get.
func (k Key[T]) Get(ctx context.Context) (v T, ok bool, err error) {
	ok, err = From(ctx).Get(ctx, string(k), &v)
	return v, ok, err
}

// Set changes the value in the session of a handler's context. It is written after the handler.
func (k Key[T]) Set(ctx context.Context, v T) error { return From(ctx).Set(ctx, string(k), v) }

// Delete takes the value out of the session of a handler's context. That is written after the handler.
func (k Key[T]) Delete(ctx context.Context) error { return From(ctx).Delete(ctx, string(k)) }
