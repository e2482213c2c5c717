package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// variable is the environment variable that makes the test binary a server; its value is a plan.
const variable = "SOCKEYE_FAULTS_SERVER"

func TestMain(m *testing.M) {
	if text := os.Getenv(variable); text != "" {
		if err := serve(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	testkit.Main(m)
}

// kinds are the adapters.
var kinds = []string{"classic", "sharded", "streams"}

func forKinds(t *testing.T, f func(t *testing.T, kind string)) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, kind)
		})
	}
}

// plan says what a server is like.
type plan struct {
	Kind     string
	URL      string // of Redis
	Key      string // what the names of channels, or of the stream, begin with; "" is the default
	Recovery bool
	MaxLen   int // of the stream; 0 is the default
}

// limit bounds one question to the cluster.
const limit = 8 * time.Second

// server is a whole server in this process.
type server struct {
	*sockeye.Server

	url     string // for clients
	cluster adapter.Cluster
	web     *http.Server
	served  chan struct{}
	probes  atomic.Int64

	mu     sync.Mutex
	faults []error
}

func (p plan) cluster(d redisadapter.StreamDriver, onFault func(string, error)) (adapter.Cluster, error) {
	switch p.Kind {
	case "classic":
		return redisadapter.PubSub(d, redisadapter.PubSubOptions{Key: p.Key, RequestsTimeout: limit, OnFault: onFault}), nil
	case "sharded":
		o := redisadapter.ShardedOptions{ChannelPrefix: p.Key, RequestsTimeout: limit, OnFault: onFault}
		return redisadapter.Sharded(d, o), nil
	case "streams":
		o := redisadapter.StreamsOptions{
			StreamName: p.Key, ChannelPrefix: p.Key, RequestsTimeout: limit, OnFault: onFault, MaxLen: p.MaxLen,
		}
		return redisadapter.Streams(d, o), nil
	}
	return nil, errors.New("no such kind of adapter")
}

// open starts a server. Its clients join the rooms that they name.
func (p plan) open() (*server, error) {
	d, err := rueidisdriver.FromURL(p.URL)
	if err != nil {
		return nil, err
	}
	s := &server{served: make(chan struct{})}
	if s.cluster, err = p.cluster(d, s.fault); err != nil {
		return nil, err
	}
	c := sockeye.Config{
		Adapter: s.cluster, AckTimeout: limit, StartTimeout: testkit.Scale(20 * time.Second),
		Queue: sockeye.SendQueue{MaxPackets: 1 << 17, MaxBytes: 64 << 20},
	}
	if p.Recovery {
		c.Recovery = &sockeye.Recovery{MaxDisconnection: time.Minute}
	}
	if s.Server, err = sockeye.New(c); err != nil {
		return nil, errors.Join(err, s.cluster.Close())
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.url = "http://" + l.Addr().String() + "/socket.io/"
	s.listen()
	s.web = &http.Server{Handler: s.Server, ReadHeaderTimeout: limit}
	go s.run(l)
	return s, nil
}

// run ends when the server is closed.
func (s *server) run(l net.Listener) {
	defer close(s.served)
	_ = s.web.Serve(l) // http.ErrServerClosed
}

// listen adds what a server does for its clients and for others.
func (s *server) listen() {
	s.OnConnection(func(_ context.Context, socket *sockeye.Socket) {
		var auth struct{ Rooms []string }
		if err := socket.Auth(&auth); err == nil && len(auth.Rooms) > 0 {
			_ = socket.Join(auth.Rooms...) // a client that lacks events tells
		}
	})
	s.On("stats", sockeye.Func(func(context.Context) (redisadapter.Stats, error) { return s.stats(), nil }))
	s.On("health", sockeye.Func(func(context.Context) (string, error) { return fmt.Sprint(s.Health()), nil }))
	s.On("storm", sockeye.Func(func(ctx context.Context, name string) (bool, error) {
		go s.endless(ctx, name)
		return true, nil
	}))
	s.Of("/").OnServerSide("who", sockeye.Func(func(context.Context) (string, error) { return s.url, nil }))
}

// endless emits numbers. It ends when the socket that asked for it does.
func (s *server) endless(ctx context.Context, name string) {
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
			_ = s.Emit("n", name, i) // there is nobody to tell
		}
	}
}

func (s *server) fault(_ string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, err)
}

// reported tells whether a fault was reported that has a text in it.
func (s *server) reported(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.faults, func(err error) bool { return strings.Contains(err.Error(), text) })
}

func (s *server) allFaults() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

func (s *server) stats() redisadapter.Stats {
	c, ok := s.cluster.(interface{ Stats() redisadapter.Stats })
	if !ok {
		return redisadapter.Stats{}
	}
	return c.Stats()
}

func (s *server) close() error {
	err := errors.Join(s.Close(), s.web.Close())
	<-s.served
	return err
}

// start starts a server in this process and closes it with the test.
func start(t *testing.T, p plan) *server {
	t.Helper()
	s, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s: %+v, faults %v", s.url, s.stats(), s.allFaults())
		}
	})
	return s
}

// settled waits until Redis has confirmed all subscriptions.
func (s *server) settled(t *testing.T) {
	t.Helper()
	c, ok := s.cluster.(interface{ Settled(context.Context) error })
	if !ok {
		t.Fatal("no Settled")
	}
	eventually(t, "subscribed", func() bool { return c.Settled(t.Context()) == nil })
}

// child is a server in a process of its own.
type child struct {
	*testkit.Child

	url string
}

// spawn starts a server in a process of its own.
func spawn(t *testing.T, p plan) *child {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	c := &child{Child: testkit.StartChild(t, cmd)}
	_ = w.Close() // the child has it
	if err := r.SetReadDeadline(time.Now().Add(testkit.Scale(40 * time.Second))); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	c.url = strings.TrimSpace(line)
	return c
}

// serve is what a process that spawn has started does, until it is killed.
func serve(text string) error {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	s, err := p.open()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(os.Stdout, s.url+"\n"); err != nil {
		return err
	}
	<-s.served
	return nil
}

// eventually waits for what takes several processes, on a machine that has more to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testkit.Within(t, 40*time.Second, what, ok)
}

// rounds is how often a fault that comes in rounds is repeated.
func rounds(t *testing.T, usual int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("FAULT_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return usual
}

// healthy waits until all servers are.
func healthy(t *testing.T, servers ...*server) {
	t.Helper()
	for _, s := range servers {
		eventually(t, "health is good", func() bool { return s.Health() == nil })
	}
}

// unhealthy waits until all servers know that Redis is away.
func unhealthy(t *testing.T, servers ...*server) {
	t.Helper()
	for _, s := range servers {
		eventually(t, "it is known", func() bool { return errors.Is(s.Health(), redisadapter.ErrUnavailable) })
	}
}

// bounded is a context that ends with the test or when something hangs.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(40*time.Second))
	t.Cleanup(cancel)
	return ctx
}
