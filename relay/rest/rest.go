package rest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
)

const (
	// bodyTime is how long the body of a request may take.
	bodyTime = 10 * time.Second

	// runTime bounds an operation or a question, beside the wait for acknowledgements.
	runTime = 10 * time.Second

	// reserved begins the names of events that are the server's own.
	reserved = "sockeye:"
)

// Handler is an http.Handler for what is below /v1/. It is safe for concurrent use.
type Handler struct {
	c        Config
	tokens   []token
	ns       *sockeye.Namespace
	mux      *http.ServeMux
	routes   map[string]map[string]endpoint
	failures *failures
	slots    chan struct{} // requests that are answered
	asks     chan struct{} // questions to the cluster
	waits    chan struct{} // waits for acknowledgements
	kept     store
}

// endpoint answers one method of a path.
type endpoint struct {
	scope  Scope // "" is for whoever has a token
	public bool
	run    func(r *request) (*answer, *problem)
}

// request is a request that is answered.
type request struct {
	*http.Request

	h     *Handler
	token *token
	id    string
	trace string // id of the trace that the client has begun, "" for none
}

// New checks c, reporting all faults. io must stay open as long as requests come.
func New(io *sockeye.Server, c Config) (*Handler, error) {
	tokens, err := checkTokens(c.Tokens)
	if err = errors.Join(c.defaults(), err); err != nil {
		return nil, err
	}
	h := &Handler{
		c: c, tokens: tokens, ns: io.Of(c.Namespace), mux: http.NewServeMux(), failures: newFailures(),
		slots: make(chan struct{}, c.MaxConcurrent), asks: make(chan struct{}, max(1, c.MaxConcurrent/4)),
		waits: make(chan struct{}, max(1, c.MaxConcurrent/2)),
	}
	h.kept = newMemory(c.Replay)
	if c.Redis != nil {
		h.kept = &redisStore{c.Redis, c.Prefix, c.Replay, c.MaxAckWait + 2*runTime}
	}
	h.routes = map[string]map[string]endpoint{
		"/v1/emit":             {"POST": write(Emit, func() operation { return new(emitRequest) })},
		"/v1/join":             {"POST": write(Manage, func() operation { return new(joinRequest) })},
		"/v1/leave":            {"POST": write(Manage, func() operation { return new(leaveRequest) })},
		"/v1/disconnect":       {"POST": write(Manage, func() operation { return new(disconnectRequest) })},
		"/v1/batch":            {"POST": write("", func() operation { return new(batchRequest) })},
		"/v1/count":            {"GET": read(count)},
		"/v1/sockets":          {"GET": read(listSockets)},
		"/v1/sockets/{socket}": {"GET": read(oneSocket)},
		"/v1/rooms":            {"GET": read(listRooms)},
		"/v1/rooms/{room}":     {"GET": read(oneRoom)},
		"/v1/users":            {"GET": read(listUsers)},
		"/v1/users/{user}":     {"GET": read(oneUser)},
		"/v1/openapi.json":     {"GET": {public: true, run: openAPI}},
	}
	for path, methods := range h.routes {
		if get, ok := methods["GET"]; ok {
			methods["HEAD"] = get
		}
		h.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, methods) })
	}
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, nil) })
	return h, nil
}

// ServeHTTP answers requests.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, methods map[string]endpoint) {
	req := &request{Request: r, h: h, id: r.Header.Get("X-Request-Id"), trace: traceOf(r.Header.Get("Traceparent"))}
	if !isName(req.id, 64) {
		req.id = rand.Text()
	}
	head := w.Header()
	head.Set("X-Request-Id", req.id)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	a, p := h.answer(w, req, methods)
	if p != nil {
		c := *p
		c.RequestID = req.id
		a = answerProblem(&c)
	}
	a.write(w)
}

func (h *Handler) answer(w http.ResponseWriter, r *request, methods map[string]endpoint) (*answer, *problem) {
	e, ok := methods[r.Method]
	if !e.public {
		var p *problem
		if r.token, p = h.authenticate(r.Request); p != nil {
			if p.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="sockeye"`)
				h.c.Logger.LogAttrs(r.Context(), slog.LevelWarn, "rest: no valid token", r.attrs()...)
			}
			return nil, p
		}
	}
	switch {
	case methods == nil:
		return nil, newProblem("not_found", "")
	case !ok:
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		return nil, newProblem("method_not_allowed", "")
	case !e.public && e.scope != "" && !r.token.may(e.scope):
		return nil, newProblem("forbidden", "the scope "+string(e.scope)+" is needed")
	}
	select {
	case h.slots <- struct{}{}:
	default:
		return nil, newProblem("too_many_requests", "").wait(1)
	}
	defer func() { <-h.slots }()
	if r.Method == http.MethodPost {
		c := http.NewResponseController(w)
		if err := c.SetReadDeadline(time.Now().Add(bodyTime)); err == nil {
			defer func() { _ = c.SetReadDeadline(time.Time{}) }() // fails only on a connection that is gone
		}
		r.Body = http.MaxBytesReader(w, r.Body, h.c.MaxBody)
	}
	return e.run(r)
}

// attrs are what each line of the log has of a request.
func (r *request) attrs() []slog.Attr {
	a := []slog.Attr{slog.String("request_id", r.id), slog.String("address", r.h.c.Address(r.Request))}
	if r.token != nil {
		a = append(a, slog.String("token", r.token.name))
	}
	if r.trace != "" {
		a = append(a, slog.String("trace_id", r.trace))
	}
	return a
}

// traceOf gives the id of the trace, "" for what is none.
//
// Protocol: W3C Trace Context, "traceparent"
func traceOf(parent string) string {
	if len(parent) != 55 || parent[:3] != "00-" || parent[35] != '-' || parent[52] != '-' {
		return ""
	}
	id := parent[3:35]
	if strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}

// ask reserves one of the questions to the cluster that may be asked at a time.
func (r *request) ask() (ctx context.Context, done func(), p *problem) {
	select {
	case r.h.asks <- struct{}{}:
	default:
		return nil, nil, newProblem("too_many_requests", "too many questions to the cluster at a time").wait(1)
	}
	ctx, cancel := context.WithTimeout(r.Context(), runTime)
	return ctx, func() { cancel(); <-r.h.asks }, nil
}
