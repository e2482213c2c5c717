package emitter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// maxListening bounds the namespaces whose answers are listened to although no question is open.
const maxListening = 256

// kind tells what is asked.
type kind uint8

const (
	acks       kind = iota // every socket, after every server has said how many those are
	sockets                // every server, for its sockets
	serverSide             // every server's listener
)

// question is what is asked of the servers of a namespace.
type question struct {
	kind    kind
	nsp     *namespace
	id      string
	packet  *parser.Packet // acks, serverSide
	options adapter.Options
	timeout time.Duration // 0 where it is not told
}

// answer is what came back for one question.
type answer struct {
	id      string
	kind    kind
	counted bool // acks: not an acknowledgement, but how many there will be
	count   int
	server  string // "" where it did not say
	args    []parser.Arg
	sockets []adapter.Remote
}

// namespace is what a format knows of one.
type namespace struct {
	name    string
	bad     error    // that it has none of the others
	all     string   // the channel of all servers for events; those of rooms begin so
	orders  string   // the channel of questions, and of orders where these are no entries
	answers []string // the channels that answers for this process come by
}

// room names the channel of a room.
func (n *namespace) room(room string) string { return n.all + room + "#" }

// format is one of the three ways to write to a cluster. Its methods are safe for concurrent use.
type format interface {
	// open tells what there is to know of a namespace.
	open(name string) *namespace

	// These publish what is not answered, and wait for Redis if ctx can end.
	broadcast(ctx context.Context, n *namespace, p *parser.Packet, o adapter.Options) error
	command(ctx context.Context, n *namespace, c adapter.Command, o adapter.Options) error
	serverSide(ctx context.Context, n *namespace, p *parser.Packet) error

	// mayAsk is nil where a question does no harm.
	mayAsk(ctx context.Context, n *namespace) error

	// request writes a question.
	request(q *question) ([]byte, error)

	// mine gives the id of the question that an answer is for, where that can be told without reading it.
	mine(payload string) (id string, ok bool)

	// read reads an answer. With an error the rest may be good.
	read(payload string) (answer, error)

	// accepting is nil or why what is published now would not arrive soon.
	accepting() error

	close() error
}

// core is what all namespaces of an emitter share.
type core struct {
	out      *redisadapter.Outlet
	format   format
	requests adapter.Requests
	gate     chan struct{} // holds a token while nobody changes listening

	mu        sync.Mutex
	kinds     map[string]kind       // of the open questions, by id
	listening map[string]*listening // by namespace; changed by who has the token
}

// listening is a namespace whose answers are heard.
type listening struct {
	questions int // open
	stop      func()
}

func newCore(out *redisadapter.Outlet, f format) *core {
	c := &core{
		out: out, format: f, gate: make(chan struct{}, 1),
		kinds: map[string]kind{}, listening: map[string]*listening{},
	}
	c.gate <- struct{}{}
	return c
}

// away tells whether Redis is known not to take messages at the moment.
func (c *core) away() bool { return c.format.accepting() != nil }

// listen makes sure that the answers for a namespace are heard, until release is called.
func (c *core) listen(ctx context.Context, n *namespace) (release func(), err error) {
	select {
	case <-c.gate:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { c.gate <- struct{}{} }()
	c.mu.Lock()
	l := c.listening[n.name]
	if l != nil {
		l.questions++
	}
	c.mu.Unlock()
	if l == nil {
		stop, err := c.out.Listen(ctx, c.take, n.answers...)
		if err != nil {
			return nil, fmt.Errorf("emitter: %w", err)
		}
		l = &listening{questions: 1, stop: stop}
		c.mu.Lock()
		c.listening[n.name] = l
		c.mu.Unlock()
	}
	return func() { c.release(n.name, l) }, nil
}

// release ends a question. The namespace is listened to further, for the next one, unless there are many.
func (c *core) release(name string, l *listening) {
	c.mu.Lock()
	l.questions--
	over := l.questions == 0 && len(c.listening) > maxListening
	if over {
		delete(c.listening, name)
	}
	c.mu.Unlock()
	if over {
		l.stop()
	}
}

// begin opens a question and makes ready for its answers. end must be called.
func (c *core) begin(ctx context.Context, q *question) (r *adapter.Request, end func(), err error) {
	if err := c.out.Health(); err != nil {
		return nil, nil, fmt.Errorf("emitter: %w", err)
	}
	if err := c.format.mayAsk(ctx, q.nsp); err != nil {
		return nil, nil, fmt.Errorf("emitter: %w", err)
	}
	release, err := c.listen(ctx, q.nsp)
	if err != nil {
		return nil, nil, err
	}
	of := adapter.OfServers
	if q.kind == acks {
		of = adapter.OfSockets
	}
	if r, err = c.requests.New(of); err != nil {
		release()
		if errors.Is(err, adapter.ErrClosed) {
			return nil, nil, ErrClosed
		}
		return nil, nil, fmt.Errorf("emitter: %w", err)
	}
	q.id = r.ID()
	c.mu.Lock()
	c.kinds[q.id] = q.kind
	c.mu.Unlock()
	return r, func() {
		r.Close()
		c.mu.Lock()
		delete(c.kinds, q.id)
		c.mu.Unlock()
		release()
	}, nil
}

// askServers asks every server once. It returns at once if there is none.
func (c *core) askServers(ctx context.Context, q *question, each func(adapter.Response)) error {
	ctx, cancel := c.out.Bounded(ctx)
	defer cancel()
	r, end, err := c.begin(ctx, q)
	if err != nil {
		return err
	}
	defer end()
	payload, err := c.format.request(q)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	// Counted before the question is published: a server that comes later need not answer.
	servers, err := c.out.Subscribers(ctx, q.nsp.orders)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	if servers <= 0 {
		return nil
	}
	r.Expect(servers)
	if err := c.out.Publish(context.Background(), q.nsp.orders, payload); err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	return r.Wait(ctx, each)
}

// askSockets asks every server to ask its sockets.
func (c *core) askSockets(ctx context.Context, q *question, each func(adapter.Response)) error {
	ctx, cancel := c.out.Bounded(ctx)
	defer cancel()
	r, end, err := c.begin(ctx, q)
	if err != nil {
		return err
	}
	defer end()
	if deadline, ok := ctx.Deadline(); ok {
		q.timeout = max(time.Until(deadline), time.Millisecond)
	}
	payload, err := c.format.request(q)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	servers, err := c.out.Subscribers(ctx, q.nsp.orders) // before the question is published, as above
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	r.Expect(servers)
	if err := c.out.Publish(ctx, q.nsp.orders, payload); err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	return r.Wait(ctx, each)
}

var errKind = fmt.Errorf("%w: answer of another kind than the question", rediswire.ErrMalformed)

// take takes an answer, if it is for a question of this process. It is called by the outlet, one call at a time.
func (c *core) take(payload string) error {
	if id, ok := c.format.mine(payload); ok && c.requests.Find(id) == nil {
		c.out.Received(false)
		return nil
	}
	a, err := c.format.read(payload)
	if a.id == "" && err != nil {
		return err
	}
	r := c.requests.Find(a.id)
	c.mu.Lock()
	want, ok := c.kinds[a.id]
	c.mu.Unlock()
	switch {
	case r == nil || !ok:
		c.out.Received(false)
		return nil
	case a.kind != want:
		return errors.Join(errKind, err)
	}
	c.out.Received(true)
	switch {
	case a.counted:
		r.Heard(a.server, a.count)
	case a.kind == acks:
		r.SocketAnswer(adapter.Answer{Server: a.server, Args: a.args})
	case a.kind == sockets:
		for i := range a.sockets {
			a.sockets[i].Server = a.server
		}
		r.Remotes(a.server, a.sockets)
	default:
		r.ServerAnswer(adapter.Answer{Server: a.server, Args: a.args})
	}
	return err
}

// close ends what waits, publishes what is queued, and closes the driver.
func (c *core) close() error {
	c.requests.Close()
	if err := c.format.close(); err != nil {
		return fmt.Errorf("emitter: close: %w", err)
	}
	return nil
}
