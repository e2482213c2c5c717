package rest

import (
	"context"
	"log/slog"
	"net/http"
)

// joinRequest puts sockets into rooms.
type joinRequest struct {
	selection

	Rooms []string `json:"rooms"`
}

func (j *joinRequest) scopes() []Scope { return []Scope{Manage} }

func (j *joinRequest) describe() (string, []slog.Attr) {
	return "join", append(j.attrs(), slog.Int("into", len(j.Rooms)))
}

func (j *joinRequest) check(*Handler) *problem {
	if p := j.checkSelection(); p != nil {
		return p
	}
	if len(j.Rooms) == 0 {
		return invalid("/rooms", "it is needed")
	}
	return checkRooms(j.Rooms, "/rooms")
}

func (j *joinRequest) run(ctx context.Context, r *request) (int, any, *problem) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	return ordered(j.broadcast(r.h.ns).Join(ctx, j.Rooms...))
}

// ordered is the answer to an order.
func ordered(err error) (int, any, *problem) {
	if err != nil {
		return 0, nil, failed(err)
	}
	return http.StatusAccepted, accepted{true}, nil
}

// leaveRequest takes sockets out of rooms.
type leaveRequest struct{ joinRequest }

func (l *leaveRequest) describe() (string, []slog.Attr) {
	return "leave", append(l.attrs(), slog.Int("out_of", len(l.Rooms)))
}

func (l *leaveRequest) run(ctx context.Context, r *request) (int, any, *problem) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	return ordered(l.broadcast(r.h.ns).Leave(ctx, l.Rooms...))
}

// disconnectRequest disconnects sockets.
type disconnectRequest struct {
	selection

	Close *bool `json:"close"` // the connection too; default true
}

func (d *disconnectRequest) scopes() []Scope { return []Scope{Manage} }

func (d *disconnectRequest) describe() (string, []slog.Attr) { return "disconnect", d.attrs() }

func (d *disconnectRequest) check(*Handler) *problem { return d.checkSelection() }

func (d *disconnectRequest) run(ctx context.Context, r *request) (int, any, *problem) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	return ordered(d.broadcast(r.h.ns).Disconnect(ctx, d.Close == nil || *d.Close))
}
