package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is an error as a client gets it.
//
// Protocol: RFC 9457
type problem struct {
	Type      string  `json:"type"` // "urn:sockeye:problem:" and the code
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Code      string  `json:"code"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"requestId,omitempty"`
	Errors    []fault `json:"errors,omitempty"`

	retry int // seconds to wait; 0 is not said
}

// fault says what is wrong with a part of a request.
type fault struct {
	Pointer string `json:"pointer,omitempty"`   // into the body: RFC 6901
	Param   string `json:"parameter,omitempty"` // of the query, or a header
	Detail  string `json:"detail"`
}

// Error is for the log.
func (p *problem) Error() string { return "rest: " + p.Code + ": " + p.Detail }

// titles has each code with the status that it comes with.
var titles = map[string]struct {
	status int
	title  string
}{
	"unauthorized":              {http.StatusUnauthorized, "A valid token is needed"},
	"forbidden":                 {http.StatusForbidden, "The token is not good for this"},
	"not_found":                 {http.StatusNotFound, "There is no such thing"},
	"method_not_allowed":        {http.StatusMethodNotAllowed, "Method not allowed"},
	"unsupported_media_type":    {http.StatusUnsupportedMediaType, "The body must be application/json"},
	"body_too_large":            {http.StatusRequestEntityTooLarge, "The body is too large"},
	"invalid_json":              {http.StatusBadRequest, "The body is not JSON as it should be"},
	"invalid_request":           {http.StatusUnprocessableEntity, "Something in the request is not as it should be"},
	"idempotency_key_reused":    {http.StatusUnprocessableEntity, "The Idempotency-Key was used for another request"},
	"idempotency_in_progress":   {http.StatusConflict, "A request with that Idempotency-Key is being answered"},
	"too_many_requests":         {http.StatusTooManyRequests, "Too many requests"},
	"too_many_failures":         {http.StatusTooManyRequests, "Too many requests with a wrong token"},
	"unavailable":               {http.StatusServiceUnavailable, "The cluster cannot be reached"},
	"idempotency_not_available": {http.StatusServiceUnavailable, "It cannot be said whether the request was made before"},
	"internal":                  {http.StatusInternalServerError, "Something went wrong here"},
}

func newProblem(code, detail string, faults ...fault) *problem {
	t := titles[code]
	return &problem{
		Type: "urn:sockeye:problem:" + code, Title: t.title, Status: t.status, Code: code, Detail: detail, Errors: faults,
	}
}

// invalid is about one field of the body.
func invalid(pointer, detail string) *problem {
	return newProblem("invalid_request", detail, fault{Pointer: pointer, Detail: detail})
}

func invalidParam(name, detail string) *problem {
	return newProblem("invalid_request", name+": "+detail, fault{Param: name, Detail: detail})
}

// below gives the problem for a part of a body that is at pointer.
func (p *problem) below(pointer string) *problem {
	c := *p
	c.Errors = make([]fault, len(p.Errors))
	for i, f := range p.Errors {
		if f.Param == "" {
			f.Pointer = pointer + f.Pointer
		}
		c.Errors[i] = f
	}
	return &c
}

func (p *problem) wait(seconds int) *problem {
	p.retry = seconds
	return p
}

// answer is what a request is answered with.
type answer struct {
	status int
	kind   string // of the body
	body   []byte
	retry  int

	replayed bool // it is the answer to a request of before
}

const (
	kindJSON    = "application/json"
	kindProblem = "application/problem+json"
)

func answerOf(status int, v any) *answer {
	b, err := json.Marshal(v)
	if err != nil { // of types of this package: it cannot be
		return answerProblem(newProblem("internal", ""))
	}
	return &answer{status: status, kind: kindJSON, body: append(b, '\n')}
}

func answerProblem(p *problem) *answer {
	b, _ := json.Marshal(p) // texts and numbers
	return &answer{status: p.Status, kind: kindProblem, body: append(b, '\n'), retry: p.retry}
}

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retry))
	}
	if a.replayed {
		h.Set("Idempotency-Replayed", "true")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client may be gone
}
