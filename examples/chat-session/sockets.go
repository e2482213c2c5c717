package main

import (
	"context"
	"log/slog"
	"strings"

	"github.com/alexedwards/scs/v2"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/httpsession"
)

// line is what everybody hears.
type line struct {
	From string `json:"from"`
	Text string `json:"text"`
}

const (
	message sockeye.Event[line]     = "message"
	say     sockeye.Event[string]   = "say"
	rename  sockeye.Event[string]   = "rename"
	name    httpsession.Key[string] = "name" // the same value as manager's "name"
	longest                         = 500
)

// register says what sockets may do. Only those of somebody who has logged in get here.
func register(io *sockeye.Server, sessions *httpsession.Sessions, manager *scs.SessionManager) {
	io.Use(func(ctx context.Context, s *sockeye.Socket) error { // a session without a login is none here
		if _, err := sessions.User("name")(ctx, s); err != nil {
			return &sockeye.ConnectError{Message: "log in first"}
		}
		return nil
	})
	io.OnConnection(func(ctx context.Context, s *sockeye.Socket) {
		who, _, err := sessions.Of(s).Text(ctx, "name")
		if err != nil {
			return // the session has ended, and the socket with it
		}
		tell(message.Emit(s.Broadcast(), line{who, "is here"}))
	})
	say.On(io, func(ctx context.Context, text string) error {
		manager.Put(ctx, "said", manager.GetInt(ctx, "said")+1) // as in any page of the application; saved after this handler
		return message.Emit(io.Of("/"), line{manager.GetString(ctx, "name"), clip(text)})
	})
	rename.On(io, func(ctx context.Context, to string) error {
		from, _, err := name.Get(ctx) // or by keys of a type, without the manager
		if err != nil || to == "" {
			return err
		}
		if err := name.Set(ctx, clip(to)); err != nil {
			return err
		}
		if err := httpsession.From(ctx).Save(ctx); err != nil { // before anybody hears of it
			return err
		}
		return message.Emit(io.Of("/"), line{from, "is now " + clip(to)})
	})
}

// clip bounds what comes from a client, in bytes.
func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), longest)], "") }

func tell(err error) {
	if err != nil {
		log.Warn("cannot tell", slog.Any("error", err))
	}
}
