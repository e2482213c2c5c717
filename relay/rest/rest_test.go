package rest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

const emit = `{"to":{"all":true},"event":"e"}`

func TestHandler_Tokens(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("only-for-reading"))
	n := start(t, nil, Config{Tokens: []Token{
		{Name: "all", Secret: secret},
		{Name: "reader", Secret: "sha256:" + hex.EncodeToString(sum[:]), Scopes: []Scope{Read}},
		{Name: "pusher", Secret: "only-for-emitting", Scopes: []Scope{Emit}},
		{Name: "manager", Secret: "only-for-managing", Scopes: []Scope{Manage}},
	}})
	order := `{"to":{"all":true},"rooms":["r"]}`
	batch := `{"operations":[{"op":"emit","to":{"all":true},"event":"e"},{"op":"join","to":{"all":true},"rooms":["r"]}]}`
	for _, test := range []struct {
		secret                      string
		read, emit, manage, batches int
	}{
		{secret, 200, 202, 202, 200},
		{"only-for-reading", 200, 403, 403, 403},
		{"only-for-emitting", 403, 202, 403, 403},
		{"only-for-managing", 403, 403, 202, 403},
	} {
		auth := []string{"Authorization", "bearer " + test.secret}
		for i, r := range []*response{
			n.call("GET", "/v1/count", "", auth...), n.call("POST", "/v1/emit", emit, auth...), n.call("POST", "/v1/join", order, auth...),
			n.call("POST", "/v1/batch", batch, auth...),
		} {
			want := []int{test.read, test.emit, test.manage, test.batches}[i]
			if r.status != want {
				t.Errorf("%s: call %d: %d, want %d: %s", test.secret, i, r.status, want, r.body)
			}
			if want == http.StatusForbidden {
				r.fails(http.StatusForbidden, "forbidden", "")
			}
		}
	}
	for _, auth := range []string{
		"", "Bearer", "Bearer ", "Basic " + secret, secret, "Bearer " + secret + "x", "Bearer x" + secret,
		"Bearer " + hex.EncodeToString(sum[:]), "Bearer sha256:" + hex.EncodeToString(sum[:]),
	} {
		r := n.call("POST", "/v1/emit", emit, "Authorization", auth).fails(http.StatusUnauthorized, "unauthorized", "")
		if !strings.HasPrefix(r.head.Get("Www-Authenticate"), "Bearer") {
			t.Errorf("%q: %v", auth, r.head)
		}
	}
	// Who has no token learns nothing of what there is, but for the description.
	n.call("GET", "/v1/nothing", "", "Authorization", "").fails(http.StatusUnauthorized, "unauthorized", "")
	if r := n.call("GET", "/v1/openapi.json", "", "Authorization", ""); r.status != http.StatusOK || r.body != string(description) {
		t.Errorf("description: %d", r.status)
	}
	if strings.Contains(n.log.String(), secret) || strings.Contains(n.log.String(), "only-for") {
		t.Errorf("the log has a secret in it:\n%s", n.log)
	}
}

// Wrong tokens are limited for each address, and do not keep right ones out.
func TestHandler_WrongTokens(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{Address: func(r *http.Request) string { return r.Header.Get("X-Test") }})
	limited := 0
	for range 30 {
		r := n.call("GET", "/v1/count", "", "Authorization", "Bearer wrong", "X-Test", "2001:db8::1")
		if r.status == http.StatusTooManyRequests {
			limited++
			if r.fails(http.StatusTooManyRequests, "too_many_failures", "").head.Get("Retry-After") != "60" {
				t.Errorf("%v", r.head)
			}
		}
	}
	if limited < 15 {
		t.Errorf("%d of 30 were refused", limited)
	}
	n.call("GET", "/v1/count", "", "Authorization", "Bearer wrong", "X-Test", "2001:db8::2").fails(http.StatusTooManyRequests, "too_many_failures", "")
	n.call("GET", "/v1/count", "", "Authorization", "Bearer wrong", "X-Test", "2001:db8:0:1::1").fails(http.StatusUnauthorized, "unauthorized", "")
	n.call("GET", "/v1/count", "", "Authorization", "Bearer wrong", "X-Test", "192.0.2.1").fails(http.StatusUnauthorized, "unauthorized", "")
	if r := n.call("GET", "/v1/count", "", "X-Test", "2001:db8::1"); r.status != http.StatusOK {
		t.Errorf("a right token: %d %s", r.status, r.body)
	}
	if lines := strings.Count(n.log.String(), "no valid token"); lines > 20 {
		t.Errorf("%d lines in the log", lines)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	f := newFailures()
	now := time.Now()
	for range failureBurst {
		if !f.allow("192.0.2.1", now) {
			t.Fatal("refused")
		}
	}
	if f.allow("192.0.2.1", now) || f.allow("::ffff:192.0.2.1", now.Add(failureEvery-1)) || !f.allow("192.0.2.1", now.Add(failureEvery)) {
		t.Error("the bucket does not fill as it should")
	}
	for i := range 2 * maxAddresses {
		f.allow(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	if len(f.byName) != maxAddresses || f.recent.Len() != maxAddresses {
		t.Errorf("%d addresses are kept", len(f.byName))
	}
}

func TestHandler_Refuses(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{MaxBody: 4096})
	for _, test := range []struct {
		method, path, allow string
	}{
		{"GET", "/v1/emit", "POST"},
		{"PUT", "/v1/batch", "POST"},
		{"POST", "/v1/sockets", "GET, HEAD"},
		{"DELETE", "/v1/sockets/x", "GET, HEAD"},
		{"OPTIONS", "/v1/join", "POST"},
		{"PATCH", "/v1/users/ann", "GET, HEAD"},
	} {
		r := n.call(test.method, test.path, "", "Origin", "https://evil.example").fails(http.StatusMethodNotAllowed, "method_not_allowed", "")
		if r.head.Get("Allow") != test.allow {
			t.Errorf("%s %s: Allow: %s", test.method, test.path, r.head.Get("Allow"))
		}
		for name := range r.head {
			if strings.HasPrefix(name, "Access-Control") {
				t.Errorf("%s %s: %s", test.method, test.path, name)
			}
		}
	}
	n.call("GET", "/v1/nothing", "").fails(http.StatusNotFound, "not_found", "")
	n.call("GET", "/v1/", "").fails(http.StatusNotFound, "not_found", "")
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/jsonx", ";"} {
		n.call("POST", "/v1/emit", emit, "Content-Type", kind).fails(http.StatusUnsupportedMediaType, "unsupported_media_type", "")
	}
	n.call("POST", "/v1/emit", emit, "Content-Encoding", "gzip").fails(http.StatusUnsupportedMediaType, "unsupported_media_type", "")
	n.call("POST", "/v1/emit", emit, "Content-Type", "application/json; charset=UTF-8").is(http.StatusAccepted, done)
	n.call("POST", "/v1/emit", `{"to":{"all":true},"event":"e","args":["`+strings.Repeat("x", 4096)+`"]}`).
		fails(http.StatusRequestEntityTooLarge, "body_too_large", "")
	if r := n.call("HEAD", "/v1/count", ""); r.status != http.StatusOK || r.body != "" {
		t.Errorf("HEAD: %d %q", r.status, r.body)
	}
}

func TestHandler_Strict(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	names := `["` + strings.Repeat(`r","`, 1000) + `r"]`
	long := strings.Repeat("x", 513)
	for _, test := range []struct {
		path, body string
		status     int
		at         string
	}{
		{"/v1/emit", ``, 400, ""},
		{"/v1/emit", `{`, 400, ""},
		{"/v1/emit", `{} `, 422, "/to"},
		{"/v1/emit", `{}x`, 400, ""},
		{"/v1/emit", `nope`, 400, ""},
		{"/v1/emit", "{\"event\":\"\xff\"}", 400, "/event"},
		{"/v1/emit", `{"event":"a","event":"b"}`, 400, "/event"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","args":[` + deep + `]}`, 400, ""},
		{"/v1/emit", strings.Repeat("[", 100_000), 400, ""},
		{"/v1/emit", `[]`, 422, ""},
		{"/v1/emit", `null`, 422, "/to"},
		{"/v1/emit", `{"Event":"e"}`, 422, "/Event"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","data":1}`, 422, "/data"},
		{"/v1/emit", `{"to":{"everyone":true},"event":"e"}`, 422, "/to/everyone"},
		{"/v1/emit", `{"event":"e"}`, 422, "/to"},
		{"/v1/emit", `{"to":{},"event":"e"}`, 422, "/to"},
		{"/v1/emit", `{"to":{"all":false},"event":"e"}`, 422, "/to"},
		{"/v1/emit", `{"to":{"all":true,"rooms":["r"]},"event":"e"}`, 422, "/to"},
		{"/v1/emit", `{"to":{"rooms":[]},"event":"e"}`, 422, "/to"},
		{"/v1/emit", `{"to":{"rooms":"r"},"event":"e"}`, 422, "/to/rooms"},
		{"/v1/emit", `{"to":{"rooms":["r",""]},"event":"e"}`, 422, "/to/rooms/1"},
		{"/v1/emit", `{"to":{"rooms":["sockeye:user:ann"]},"event":"e"}`, 422, "/to/rooms/0"},
		{"/v1/emit", `{"to":{"rooms":["` + long + `"]},"event":"e"}`, 422, "/to/rooms/0"},
		{"/v1/emit", `{"to":{"rooms":` + names + `},"event":"e"}`, 422, "/to/rooms"},
		{"/v1/emit", `{"to":{"users":["a\u0000"]},"event":"e"}`, 422, "/to/users/0"},
		{"/v1/emit", `{"to":{"sockets":["sockeye:user:ann"]},"event":"e"}`, 422, "/to/sockets/0"},
		{"/v1/emit", `{"to":{"all":true},"except":{"all":true},"event":"e"}`, 422, "/except/all"},
		{"/v1/emit", `{"to":{"all":true},"except":{"rooms":[""]},"event":"e"}`, 422, "/except/rooms/0"},
		{"/v1/emit", `{"to":{"all":true}}`, 422, "/event"},
		{"/v1/emit", `{"to":{"all":true},"event":7}`, 422, "/event"},
		{"/v1/emit", `{"to":{"all":true},"event":"disconnect"}`, 422, "/event"},
		{"/v1/emit", `{"to":{"all":true},"event":"sockeye:x"}`, 422, "/event"},
		{"/v1/emit", `{"to":{"all":true},"event":"` + long + `"}`, 422, "/event"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","args":{}}`, 422, "/args"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","args":[` + strings.Repeat("1,", 1023) + `1]}`, 422, "/args"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","args":[{"a~/b":[{"$base64":"?"}]}]}`, 422, "/args/0/a~0~1b/0/$base64"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","args":[{"_placeholder":true,"num":3},{"$base64":"AQ=="}]}`, 422, "/args"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","volatile":1}`, 422, "/volatile"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","volatile":true,"ack":{}}`, 422, "/volatile"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","ack":true}`, 422, "/ack"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","ack":{"timeout":-1}}`, 422, "/ack/timeout"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","ack":{"timeout":30001}}`, 422, "/ack/timeout"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","ack":{"timeout":1.5}}`, 422, "/ack/timeout"},
		{"/v1/emit", `{"to":{"all":true},"event":"e","ack":{"limit":10001}}`, 422, "/ack/limit"},
		{"/v1/join", `{"to":{"all":true}}`, 422, "/rooms"},
		{"/v1/join", `{"to":{"all":true},"rooms":[]}`, 422, "/rooms"},
		{"/v1/join", `{"to":{"all":true},"rooms":["sockeye:user:eve"]}`, 422, "/rooms/0"},
		{"/v1/join", `{"to":{"all":true},"rooms":["sockeye-session:x"]}`, 422, "/rooms/0"},
		{"/v1/leave", `{"to":{"all":true},"rooms":["sockeye:user:eve"]}`, 422, "/rooms/0"},
		{"/v1/leave", `{"rooms":["r"]}`, 422, "/to"},
		{"/v1/disconnect", `{}`, 422, "/to"},
		{"/v1/disconnect", `{"to":{"all":true},"close":"yes"}`, 422, "/close"},
		{"/v1/batch", `{}`, 422, "/operations"},
		{"/v1/batch", `{"operations":{}}`, 422, "/operations"},
	} {
		code := "invalid_request"
		if test.status == 400 {
			code = "invalid_json"
		}
		n.call("POST", test.path, test.body).fails(test.status, code, test.at)
	}
	for _, test := range []struct{ path, at string }{
		{"/v1/count?rom=r", "rom"},
		{"/v1/count?room=", "room"},
		{"/v1/count?room=a&room=b", "room"},
		{"/v1/count?room=sockeye:user:a", "room"},
		{"/v1/sockets?room=r&user=u", "user"},
		{"/v1/sockets?user=%00", "user"},
		{"/v1/sockets?limit=0", "limit"},
		{"/v1/sockets?limit=1001", "limit"},
		{"/v1/rooms?limit=x", "limit"},
		{"/v1/rooms?cursor=*", "cursor"},
		{"/v1/rooms?prefix=sockeye:", "prefix"},
		{"/v1/users?cursor=" + strings.Repeat("A", 2000), "cursor"},
		{"/v1/users/ann?x=1", "x"},
		{"/v1/rooms/r?x=1", "x"},
		{"/v1/sockets/s?x=1", "x"},
	} {
		n.call("GET", test.path, "").fails(http.StatusUnprocessableEntity, "invalid_request", test.at)
	}
}

// Requests are bounded in number, and what is too much is refused at once.
func TestHandler_Concurrency(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{MaxConcurrent: 5})
	n.h.asks <- struct{}{} // one question is being asked
	for _, path := range []string{"/v1/count", "/v1/sockets", "/v1/sockets/x", "/v1/rooms", "/v1/rooms/r", "/v1/users", "/v1/users/u"} {
		if r := n.call("GET", path, "").fails(http.StatusTooManyRequests, "too_many_requests", ""); r.head.Get("Retry-After") != "1" {
			t.Errorf("%v", r.head)
		}
	}
	n.call("POST", "/v1/emit", emit).is(http.StatusAccepted, done)
	<-n.h.asks
	n.h.waits <- struct{}{}
	n.h.waits <- struct{}{} // two wait
	n.call("POST", "/v1/emit", `{"to":{"all":true},"event":"e","ack":{}}`, "Idempotency-Key", "k").fails(http.StatusTooManyRequests, "too_many_requests", "")
	n.call("POST", "/v1/emit", emit).is(http.StatusAccepted, done)
	<-n.h.waits
	if r := n.call("POST", "/v1/emit", `{"to":{"all":true},"event":"e","ack":{}}`, "Idempotency-Key", "k"); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
	<-n.h.waits
	for range 5 {
		n.h.slots <- struct{}{}
	}
	n.call("POST", "/v1/emit", emit).fails(http.StatusTooManyRequests, "too_many_requests", "")
	<-n.h.slots
	n.call("POST", "/v1/emit", emit).is(http.StatusAccepted, done)
}

// What is asked for goes to the log with the name of the token and without payload.
func TestHandler_Log(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := n.call("POST", "/v1/emit", `{"to":{"users":["secret-user"]},"event":"news\nlevel=ERROR","args":["secret payload"]}`,
		"X-Request-Id", "my-request.1", "Traceparent", trace)
	if r.head.Get("X-Request-Id") != "my-request.1" {
		t.Errorf("%v", r.head)
	}
	n.call("POST", "/v1/batch", `{"operations":[{"op":"join","to":{"all":true},"rooms":["r"]},{"op":"disconnect","to":{"rooms":["r"]}}]}`)
	n.call("POST", "/v1/emit", `{}`, "Idempotency-Key", "secret-key")
	n.call("GET", "/v1/count", "")
	log := n.log.String()
	for _, want := range []string{
		"token=all", "request_id=my-request.1", "trace_id=0af7651916cd43dd8448eb211c80319c", "operation=emit", `event="news\nlevel=ERROR"`, "users=1",
		"status=202", "args=1", "operation=join", "operation=disconnect", "address=127.0.0.1",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Count(log, "rest: operation") != 3 || strings.Contains(log, "secret") {
		t.Errorf("log:\n%s", log)
	}
	for _, id := range []string{"", "a b", strings.Repeat("x", 65), "a;b"} {
		if got := n.call("GET", "/v1/count", "", "X-Request-Id", id).head.Get("X-Request-Id"); got == id || len(got) != 26 {
			t.Errorf("request id %q became %q", id, got)
		}
	}
	for _, parent := range []string{
		"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", strings.Replace(trace, "0af", "0AF", 1), "ff" + trace[2:],
		"00-" + strings.Repeat("0", 32) + trace[35:], trace + "-1",
	} {
		if got := traceOf(parent); got != "" {
			t.Errorf("traceparent %q has trace %q", parent, got)
		}
	}
}

func TestNew_Faults(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	_, err := New(n.io, Config{
		MaxBody: 1, MaxBatch: -1, Replay: time.Millisecond, MaxAckWait: time.Hour + 1,
		Tokens: []Token{
			{Name: "a b", Secret: secret},
			{Name: "short", Secret: "fifteen-letters"},
			{Name: "blank", Secret: "sixteen letters!"},
			{Name: "short", Secret: "another-long-secret", Scopes: []Scope{"write"}},
			{Name: "hash", Secret: "sha256:12"},
			{Name: "same", Secret: secret},
		},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"largest body", "largest batch", "keep answers", "acknowledgements", "token 1: its name", "token 2: its secret", "token 3: its secret",
		"token 4: its name is there twice", `token 4: scope "write"`, "token 5: after", "token 6: its secret is there twice",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %s:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "letters!") {
		t.Errorf("the error has a secret in it:\n%v", err)
	}
	if _, err := New(n.io, Config{}); err == nil {
		t.Error("no token is no error")
	}
}

// Each route is described, and each operation of the description is a route. That their requests and answers are as
// described is checked by whatever test makes them.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	doc := document(t)
	var described, routes []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	for path, methods := range n.h.routes {
		for method := range methods {
			if method != http.MethodHead {
				routes = append(routes, method+" "+path)
			}
		}
	}
	slices.Sort(described)
	slices.Sort(routes)
	if !slices.Equal(described, routes) {
		t.Errorf("described are\n%v\nroutes are\n%v", described, routes)
	}
	var codes []string
	for _, c := range doc.Components.Schemas["Problem"].Value.Properties["code"].Value.Enum {
		codes = append(codes, fmt.Sprint(c))
	}
	slices.Sort(codes)
	if got := slices.Sorted(maps.Keys(titles)); !slices.Equal(codes, got) {
		t.Errorf("described are the codes\n%v\nthere are\n%v", codes, got)
	}
}

// Every operation works as described, in one go.
func TestOpenAPI_EachOperation(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	ann := n.join("ann", "r")
	called := map[string]bool{}
	for _, c := range []struct{ method, path, body, operation string }{
		{"POST", "/v1/emit", emit, "emit"},
		{"POST", "/v1/emit", `{"to":{"all":true},"event":"ask","ack":{"bySocket":true}}`, "emit"},
		{"POST", "/v1/join", `{"to":{"all":true},"rooms":["s"]}`, "join"},
		{"POST", "/v1/leave", `{"to":{"all":true},"rooms":["s"]}`, "leave"},
		{"GET", "/v1/count", "", "count"},
		{"GET", "/v1/count?room=r", "", "count"},
		{"GET", "/v1/sockets?limit=1", "", "listSockets"},
		{"GET", "/v1/sockets/" + ann.ID(), "", "getSocket"},
		{"GET", "/v1/rooms?prefix=r", "", "listRooms"},
		{"GET", "/v1/rooms/r", "", "getRoom"},
		{"GET", "/v1/users?room=r", "", "listUsers"},
		{"GET", "/v1/users/ann", "", "getUser"},
		{"GET", "/v1/openapi.json", "", "openapi"},
		{"POST", "/v1/batch", `{"operations":[{"op":"disconnect","to":{"users":["nobody"]}}]}`, "batch"},
		{"POST", "/v1/disconnect", `{"to":{"all":true},"close":true}`, "disconnect"},
	} {
		if r := n.call(c.method, c.path, c.body); r.status != http.StatusOK && r.status != http.StatusAccepted {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.status, r.body)
		}
		called[c.operation] = true
	}
	for _, item := range document(t).Paths.Map() {
		for _, op := range item.Operations() {
			if !called[op.OperationID] {
				t.Errorf("%s is not called", op.OperationID)
			}
		}
	}
}

// A body that does not come does not hold a request for ever; nor is it read before the token is known.
func TestHandler_UnreadBody(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	w := httptest.NewRecorder()
	n.h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/v1/emit", failing{t}))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type failing struct{ t *testing.T }

func (f failing) Read([]byte) (int, error) {
	f.t.Error("the body is read")
	return 0, http.ErrBodyNotAllowed
}
