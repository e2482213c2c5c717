package adapter

import (
	"crypto/rand"
	"errors"
	"sync"
)

// Errors of questions and of adapters.
var (
	// ErrClosed is returned by methods of what was closed, and is the Err of an *Incomplete then.
	ErrClosed = errors.New("adapter: closed")

	// ErrTooManyRequests is returned where too many questions wait for answers.
	ErrTooManyRequests = errors.New("adapter: too many pending requests")

	// ErrSocketLeft is the Err of an *Incomplete where all answered but sockets that left.
	ErrSocketLeft = errors.New("adapter: sockets left before they answered")

	// ErrServerLeft is the Err of an *Incomplete where all answered but servers that left or are known to be gone, and
	// perhaps sockets that left.
	ErrServerLeft = errors.New("adapter: servers left before they answered")
)

const (
	maxRequests = 10_000
	maxQueued   = 1 << 18 // responses of one request that Wait has not taken yet
)

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// NewID gives a random id of 6 characters, as the official adapters use for servers and for requests.
func NewID() string { return randomID(6) }

func randomID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	for i, c := range b {
		b[i] = idAlphabet[c&63]
	}
	return string(b)
}

// Kind tells who answers a Request.
type Kind uint8

// The kinds of a Request.
const (
	// OfServers is a question that every other server answers once: Response or ServerAnswer.
	OfServers Kind = iota

	// OfSockets is a question that every other server answers with a number of sockets (Heard), and then each of
	// these sockets once: SocketAnswer.
	OfSockets
)

// Requests is the table of questions of one adapter that wait for answers from other servers. The zero Requests
// is ready. It is safe for concurrent use, and at most 10,000 requests are open at a time.
type Requests struct {
	mu     sync.Mutex
	open   map[string]*Request
	closed bool
}

// New opens a request under a new id. The caller must end it by Close. The error is ErrClosed or
// ErrTooManyRequests.
func (r *Requests) New(of Kind) (*Request, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if len(r.open) >= maxRequests {
		return nil, ErrTooManyRequests
	}
	q := newRequest(of)
	for q.id == "" || r.open[q.id] != nil {
		q.id = NewID()
	}
	q.table = r
	if r.open == nil {
		r.open = map[string]*Request{}
	}
	r.open[q.id] = q
	return q, nil
}

// Find gives the open request of that id, or nil.
func (r *Requests) Find(id string) *Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[id]
}

// Len counts the open requests.
func (r *Requests) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// Gone tells that nothing more will come from the server of that id. Requests do not wait for it any more: see
// ErrServerLeft. It is not missed where it has closed in order, and so has no sockets any more, before it answered.
func (r *Requests) Gone(server string, inOrder bool) {
	r.mu.Lock()
	open := make([]*Request, 0, len(r.open))
	for _, q := range r.open {
		open = append(open, q)
	}
	r.mu.Unlock()
	for _, q := range open {
		q.gone(server, inOrder)
	}
}

// Close makes every Wait return with ErrClosed, and New fail.
func (r *Requests) Close() {
	r.mu.Lock()
	r.closed = true
	open := r.open
	r.open = nil
	r.mu.Unlock()
	for _, q := range open {
		q.stop()
	}
}
