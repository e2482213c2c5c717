package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/relay/identity"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const secret = "a-secret-of-some-length"

func everything() []Token {
	return []Token{{Name: "all", Secret: secret}}
}

// node is a server of a cluster with the interface.
type node struct {
	t   *testing.T
	io  *sockeye.Server
	h   *Handler
	url string
	log *lines
}

// start starts a server. Its clients say who they are, and which rooms they want to be in.
func start(t *testing.T, a adapter.Cluster, c Config) *node {
	t.Helper()
	io, err := sockeye.New(sockeye.Config{AllowEIO3: true, Adapter: a})
	if err != nil {
		t.Fatal(err)
	}
	io.Use(admit)
	n := &node{t: t, io: io, log: new(lines)}
	if c.Tokens == nil {
		c.Tokens = everything()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(n.log, nil))
	}
	if n.h, err = New(io, c); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	mux.Handle("/v1/", n.h)
	srv := httptest.NewServer(mux)
	n.url = srv.URL
	t.Cleanup(func() {
		if err := io.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		srv.Close()
	})
	return n
}

func admit(_ context.Context, s *sockeye.Socket) error {
	var who struct{ User, Name, Rooms string }
	if err := s.Auth(&who); err != nil {
		return err
	}
	q := s.Handshake().Query
	if q["EIO"] == "3" {
		who.User, who.Rooms = q["user"], q["rooms"]
		if err := s.Join(identity.SocketRoom(identity.PublicID(s.ID(), q))); err != nil {
			return err
		}
	}
	if who.Name != "" {
		s.SetData(map[string]string{"name": who.Name})
	}
	if who.User != "" {
		if err := s.Join(identity.UserRoom(who.User)); err != nil {
			return err
		}
	}
	if who.Rooms == "" {
		return nil
	}
	return s.Join(strings.Split(who.Rooms, ",")...)
}

// person is a client.
type person struct {
	*client.Socket

	t *testing.T

	mu     sync.Mutex
	events []string // as JSON
	gone   []client.Reason
}

// join connects a client of a user to a server, "" is nobody. Events named "ask" are acknowledged with the name of the
// user and the arguments of the event, "silence" never is.
func (n *node) join(user, rooms string, old ...bool) *person {
	n.t.Helper()
	p := &person{t: n.t}
	c := client.Config{Setup: p.setup(user)}
	if len(old) > 0 {
		c.EIO3, c.Query = true, url.Values{"user": {user}, "rooms": {rooms}}
	} else {
		c.Auth = map[string]string{"user": user, "rooms": rooms, "name": strings.ToUpper(user)}
	}
	s, err := client.Dial(n.t.Context(), n.url, c)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = s.Close() }) // the server may have closed it
	p.Socket = s
	return p
}

func (p *person) setup(user string) func(*client.Socket) {
	return func(s *client.Socket) {
		s.OnAny(client.HandlerFunc(func(_ context.Context, m *client.Message) error {
			args := []any{m.Event}
			for _, a := range m.Args() {
				v, err := a.Any()
				if err != nil {
					return err
				}
				args = append(args, v)
			}
			b, err := json.Marshal(withBinary(args))
			if err != nil {
				return err
			}
			p.mu.Lock()
			p.events = append(p.events, string(b))
			p.mu.Unlock()
			if m.Event != "ask" {
				return nil
			}
			answer := []any{user}
			for _, a := range m.Args() {
				answer = append(answer, a)
			}
			return m.Ack(answer...)
		}))
		s.OnDisconnect(func(r client.Reason, _ error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.gone = append(p.gone, r)
		})
	}
}

// wants waits for events, as JSON, in order.
func (p *person) wants(events ...string) {
	p.t.Helper()
	for _, want := range events {
		var got string
		testkit.Eventually(p.t, "an event", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.events) > 0 {
				got, p.events = p.events[0], p.events[1:]
			}
			return got != ""
		})
		same(p.t, "event", got, want)
	}
}

// nothing checks that no event has come before one that is sent now.
func (p *person) nothing(n *node) {
	p.t.Helper()
	if err := n.io.To(p.ID()).Emit("last"); err != nil {
		p.t.Fatal(err)
	}
	p.wants(`["last"]`)
}

func (p *person) disconnected() {
	p.t.Helper()
	testkit.Eventually(p.t, "the end", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.gone) > 0
	})
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%s: %s: %v", what, got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %s: %v", what, want, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// response is what was answered.
type response struct {
	t      *testing.T
	status int
	head   http.Header
	body   string
}

// call sends a request; head are names and values. What is answered must be as the description says, and so must be a
// request that is not refused as malformed.
func (n *node) call(method, path, body string, head ...string) *response {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+everything()[0].Secret)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(head); i += 2 {
		if req.Header.Set(head[i], head[i+1]); head[i+1] == "" {
			req.Header.Del(head[i])
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	n.conforms(req, body, res, b)
	return &response{n.t, res.StatusCode, res.Header, string(b)}
}

// described has the operations that were called in this process, of those that the description has.
var described = struct {
	sync.Mutex

	doc  *openapi3.T
	seen map[string]bool
}{seen: map[string]bool{}}

func document(t *testing.T) *openapi3.T {
	t.Helper()
	described.Lock()
	defer described.Unlock()
	if described.doc == nil {
		l := openapi3.NewLoader()
		doc, err := l.LoadFromData(description)
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.Validate(l.Context, openapi3.IsOpenAPI31OrLater()); err != nil {
			t.Fatalf("the description is not OpenAPI: %v", err)
		}
		described.doc = doc
	}
	return described.doc
}

func (n *node) conforms(req *http.Request, body string, res *http.Response, answer []byte) {
	n.t.Helper()
	if req.Method == http.MethodHead {
		return // it is what GET is, without a body
	}
	doc := document(n.t)
	_, pattern := n.h.mux.Handler(req)
	item := doc.Paths.Value(pattern)
	if item == nil || item.GetOperation(req.Method) == nil {
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed && res.StatusCode != http.StatusUnauthorized {
			n.t.Errorf("%s %s is not described, and answered with %s", req.Method, req.URL.Path, res.Status)
		}
		return
	}
	op := item.GetOperation(req.Method)
	described.Lock()
	described.seen[op.OperationID] = true
	described.Unlock()
	names := map[string]string{}
	if i := strings.Index(pattern, "{"); i >= 0 {
		names[strings.Trim(pattern[i:], "{}")] = req.URL.Path[i:]
	}
	again := req.Clone(n.t.Context())
	again.Body = io.NopCloser(strings.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: again, PathParams: names, QueryParams: req.URL.Query(),
		Route: &routers.Route{Spec: doc, Path: pattern, PathItem: item, Method: req.Method, Operation: op},
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}
	err := openapi3filter.ValidateRequest(n.t.Context(), in)
	if err != nil && res.StatusCode < http.StatusBadRequest {
		n.t.Errorf("%s %s is not as described, and answered with %s: %v", req.Method, req.URL.Path, res.Status, err)
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(n.t.Context(), out.SetBodyBytes(answer)); err != nil {
		n.t.Errorf("the answer to %s %s is not as described: %v\n%s", req.Method, req.URL.Path, err, answer)
	}
}

// is checks the answer.
func (r *response) is(status int, body string) *response {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	same(r.t, "answer", r.body, body)
	return r
}

// fails checks that it is a problem with that code, and a fault at that pointer or parameter, if any.
func (r *response) fails(status int, code, at string) *response {
	r.t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		r.t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	if r.status != status || p.Status != status || p.Code != code || p.Type != "urn:sockeye:problem:"+code || p.Title == "" ||
		r.head.Get("Content-Type") != "application/problem+json" || p.RequestID != r.head.Get("X-Request-Id") {
		r.t.Errorf("want %d %s, got %d %s", status, code, r.status, r.body)
	}
	if at != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != at && p.Errors[0].Param != at || p.Errors[0].Detail == "") {
		r.t.Errorf("want a fault at %s, got %s", at, r.body)
	}
	return r
}

// into decodes the answer.
func (r *response) into(v any) {
	r.t.Helper()
	if r.status != http.StatusOK {
		r.t.Fatalf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		r.t.Fatal(err)
	}
}

// lines are what was logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
