package admin

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// watchSessions is the goroutine that ends pages whose session has ended. It ends with Close.
func (a *Admin) watchSessions() {
	if a.auth == nil {
		return
	}
	ticker := time.NewTicker(sessionPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-a.ctx.Done():
			return
		}
		a.checkSessions(a.ctx)
	}
}

// checkSessions disconnects the pages whose session is not in the store any more. While the store is not available they
// stay.
func (a *Admin) checkSessions(ctx context.Context) {
	for s, t := range a.here() {
		if t.session == "" {
			continue
		}
		one, cancel := context.WithTimeout(ctx, tryTimeout)
		known, err := a.o.Store.Has(one, t.session)
		cancel()
		switch {
		case err != nil:
			if ctx.Err() == nil {
				a.log.LogAttrs(ctx, slog.LevelError, "admin sessions are not available", slog.Any("error", err))
			}
			return
		case !known:
			a.log.LogAttrs(ctx, slog.LevelInfo, "admin session ended", slog.String("address", s.Handshake().Address))
			_ = s.Disconnect(true) // it may be gone
		}
	}
}

// Page is a page that is connected to this server.
type Page struct {
	Socket  string    // id of its socket
	Address string    // of the client
	User    string    // "" where it came with a session, or where everybody may enter
	Since   time.Time // when its connection was opened
}

// Pages gives the pages that are connected to this server, in no order.
func (a *Admin) Pages() []Page {
	here := a.here()
	all := make([]Page, 0, len(here))
	for s, t := range here {
		h := s.Handshake()
		all = append(all, Page{s.ID(), h.Address, t.user, h.Time})
	}
	return all
}

// Revoke ends the session of a page that is connected to this server, and the pages that use it: those of this server at
// once, those of other servers with the same store within 30 s. Without such a page nothing happens. Errors are those of
// the store.
//
// Differs from Node: there a session ends by time alone
func (a *Admin) Revoke(ctx context.Context, socket string) error {
	here := a.here()
	for s, t := range here {
		if s.ID() != socket {
			continue
		}
		if t.session == "" {
			return s.Disconnect(true)
		}
		if err := a.o.Store.Delete(ctx, t.session); err != nil {
			return err
		}
		var errs error
		for other, o := range here {
			if o.session == t.session {
				errs = errors.Join(errs, other.Disconnect(true))
			}
		}
		return errs
	}
	return nil
}
