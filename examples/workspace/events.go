package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/sockeye-io/sockeye"
)

// The events of the workspace, for the server and for clients in Go.
const (
	application = sockeye.Event[Application]("application")
	response    = sockeye.Event[Response]("application_response")
	change      = sockeye.Event[Change]("application_change")
)

// Application is what a collaborator asks for.
type Application struct {
	Event   string `json:"event"` // SUBSCRIBE or UNSUBSCRIBE
	Payload Place  `json:"payload"`
}

// Place is an app of a workspace.
type Place struct {
	WorkspaceID string `json:"workspaceId"`
	AppID       string `json:"appId"`
}

// Response is the reply to an Application.
type Response struct {
	Event   string `json:"event"`
	Payload Place  `json:"payload"`
	Status  string `json:"status"`            // "ok" or "error"
	Code    string `json:"code,omitempty"`    // of an error: see the README
	Message string `json:"message,omitempty"` // of an error, for people
}

// Change is what collaborators are told when somebody has changed an app.
type Change struct {
	Payload Place           `json:"payload"`
	By      string          `json:"by"`
	Data    json.RawMessage `json:"data"`
}

// RefusalError is an error that the collaborator is told.
type RefusalError struct{ Code, Message string }

func (r *RefusalError) Error() string { return r.Code + ": " + r.Message }

var ident = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (p Place) check() error {
	if !ident.MatchString(p.WorkspaceID) || !ident.MatchString(p.AppID) {
		return &RefusalError{"INVALID", "workspaceId and appId must be 1 to 64 letters, digits, - or _"}
	}
	return nil
}

// room is where the collaborators of an app are, on all servers.
func (p Place) room() string { return "workspace:" + p.WorkspaceID + ":app:" + p.AppID }

// handler handles one application event.
type handler func(ctx context.Context, user User, a Application) error

// subscribe is the innermost handler: who comes here is known, and may.
func subscribe(ctx context.Context, _ User, a Application) error {
	socket := sockeye.SocketFrom(ctx)
	if a.Event == "UNSUBSCRIBE" {
		return socket.Leave(a.Payload.room())
	}
	return socket.Join(a.Payload.room())
}

// validated checks what was sent before anybody else looks at it.
func validated(next handler) handler {
	return func(ctx context.Context, user User, a Application) error {
		if a.Event != "SUBSCRIBE" && a.Event != "UNSUBSCRIBE" {
			return &RefusalError{"INVALID", fmt.Sprintf("event %.40q is neither SUBSCRIBE nor UNSUBSCRIBE", a.Event)}
		}
		if err := a.Payload.check(); err != nil {
			return err
		}
		return next(ctx, user, a)
	}
}

// responding tells the collaborator what has come of an event, by application_response.
func responding(next func(ctx context.Context, a Application) error) func(ctx context.Context, a Application) error {
	return func(ctx context.Context, a Application) error {
		r := Response{Event: a.Event, Payload: a.Payload, Status: "ok"}
		err := next(ctx, a)
		if refusal := (*RefusalError)(nil); errors.As(err, &refusal) {
			r.Status, r.Code, r.Message = "error", refusal.Code, refusal.Message
		} else if err != nil {
			r.Status, r.Code, r.Message = "error", "INTERNAL", "that did not work; try again"
			log.ErrorContext(ctx, "application event", slog.Any("error", err))
		}
		return response.Emit(sockeye.SocketFrom(ctx), r)
	}
}

// register wires the events of a server.
func register(io *sockeye.Server, users *Directory) {
	handle := responding(users.authenticate(validated(authorize(subscribe))))
	io.On(string(application), sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var a Application
		if err := m.Scan(&a); err != nil {
			// What is not of that shape is answered too, and not only logged here.
			return response.Emit(sockeye.SocketFrom(ctx), Response{
				Status: "error", Code: "INVALID", Message: `expected {"event":…,"payload":{"workspaceId":…,"appId":…}}`,
			})
		}
		return handle(ctx, a)
	}))
}
