package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// operation is something that changes or sends, as it is in the body of a request.
type operation interface {
	// check finds what is wrong with it.
	check(h *Handler) *problem

	// scopes are what a token must be good for.
	scopes() []Scope

	// run does it, and gives the status and what is answered.
	run(ctx context.Context, r *request) (status int, result any, p *problem)

	// describe is what the log says: numbers and names, no payload.
	describe() (name string, attrs []slog.Attr)
}

// accepted is the answer to what has no result.
type accepted struct {
	Accepted bool `json:"accepted"`
}

// write makes an endpoint of an operation.
func write(s Scope, fresh func() operation) endpoint {
	return endpoint{scope: s, run: func(r *request) (*answer, *problem) {
		b, p := r.body()
		if p != nil {
			return nil, p
		}
		op := fresh()
		if p := decode(b, op); p != nil {
			return nil, p
		}
		if p := op.check(r.h); p != nil {
			return nil, p
		}
		for _, s := range op.scopes() {
			if !r.token.may(s) {
				return nil, newProblem("forbidden", "the scope "+string(s)+" is needed")
			}
		}
		key := r.Header.Get("Idempotency-Key")
		if _, ok := r.Header["Idempotency-Key"]; !ok {
			return r.run(op)
		}
		if !isKey(key) {
			return nil, invalidParam("Idempotency-Key", "it has 1 to 255 characters of ASCII, without blanks")
		}
		return r.once(op, key, b)
	}}
}

func isKey(key string) bool {
	if key == "" || len(key) > 255 {
		return false
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// run does an operation. It is done to the end, also when the client does not wait for that.
func (r *request) run(op operation) (*answer, *problem) {
	ctx := context.WithoutCancel(r.Context())
	begin := time.Now()
	status, result, p := op.run(ctx, r)
	r.audit(op, status, p, time.Since(begin))
	if p != nil {
		return nil, p
	}
	return answerOf(status, result), nil
}

// audit logs an operation. A batch logs each of its own.
func (r *request) audit(op operation, status int, p *problem, took time.Duration) {
	name, attrs := op.describe()
	if name == "batch" {
		return
	}
	all := append(r.attrs(), slog.String("operation", name), slog.Duration("took", took))
	level := slog.LevelInfo
	if p != nil {
		status = p.Status
		all = append(all, slog.String("code", p.Code))
		if p.Status >= http.StatusInternalServerError {
			level = slog.LevelWarn
		}
	}
	r.h.c.Logger.LogAttrs(r.Context(), level, "rest: operation", append(append(all, slog.Int("status", status)), attrs...)...)
}

// once does an operation unless one with that key was done before: then its answer is given again.
func (r *request) once(op operation, key string, body []byte) (*answer, *problem) {
	// Of a token's own, and of one path.
	name := digest(r.token.name, r.URL.Path, key)
	sum := digest(string(body))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), runTime)
	defer cancel()
	old, claim, p := r.h.kept.begin(ctx, name, sum)
	if p != nil {
		r.h.c.Logger.LogAttrs(ctx, slog.LevelDebug, "rest: idempotency", append(r.attrs(), slog.String("code", p.Code))...)
		return nil, p
	}
	if old != nil {
		a := *old
		a.replayed = true
		return &a, nil
	}
	finished := false
	defer func() {
		if !finished { // a panic
			_ = r.h.kept.finish(ctx, name, sum, claim, nil) // what is left is what it was
		}
	}()
	a, p := r.run(op)
	again := p != nil && (p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests)
	keep := a
	if p != nil {
		keep = answerProblem(p)
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(r.Context()), runTime) // the wait for acknowledgements may be over the other
	defer cancel()
	if again {
		keep = nil // what has failed here may go well the next time
	}
	finished = true
	if err := r.h.kept.finish(ctx, name, sum, claim, keep); err != nil {
		r.h.c.Logger.LogAttrs(ctx, slog.LevelWarn, "rest: an answer could not be kept for its Idempotency-Key",
			append(r.attrs(), slog.String("error", err.Error()))...)
	}
	return a, p
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// failed makes a problem of an error of the cluster.
func failed(err error) *problem {
	switch {
	case errors.Is(err, parser.ErrArg):
		return invalid("/args", "not JSON that clients can take")
	case errors.Is(err, parser.ErrPlaceholder):
		return invalid("/args", "there is an object with the name _placeholder beside bytes")
	case errors.Is(err, sockeye.ErrReservedEvent):
		return invalid("/event", "only the protocol may use that name")
	}
	return newProblem("unavailable", "the sockets of this server were reached, others perhaps not").wait(1)
}

// cut shortens a text of a client for the log.
func cut(s string) string {
	if len(s) <= 128 {
		return s
	}
	return strings.ToValidUTF8(s[:128], "")
}
