package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

const (
	rateServers = 3
	rateClients = 24
	rateTopics  = 9 // the rooms 1 to 8; 0 is for all
	ratePace    = 6 * time.Millisecond
)

// TestRecovery_Rate has clients lose their connections again and again, come back to servers that they were not at, and
// count. SOCKEYE_RECOVERIES says how often they come back, all together.
func TestRecovery_Rate(t *testing.T) {
	t.Parallel()
	goal := 300
	if text := os.Getenv("SOCKEYE_RECOVERIES"); text != "" {
		var err error
		if goal, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	c := startCampaign(t)
	defer c.report(t)
	c.run(t, goal)
	returned, recovered := c.returned.Load(), c.recovered.Load()
	if wrong := c.wrong(); len(wrong) > 0 {
		t.Errorf("%d events or sessions are wrong, among them: %s", len(wrong), wrong[:min(len(wrong), 5)])
	}
	if returned < int64(goal) || c.missed.Load() == 0 {
		t.Errorf("%d clients came back, who missed %d events", returned, c.missed.Load())
	}
	// Where the machine is so busy that an event comes without an offset, who has nothing behind it is not recovered.
	if least := returned - c.early() - max(returned/1000, 1); recovered < least {
		t.Errorf("%d of %d were recovered, want %d", recovered, returned, least)
	}
}

// campaign is a cluster, its publishers and its clients.
type campaign struct {
	all  []*bundle
	stop chan struct{}
	work sync.WaitGroup
	left atomic.Int64 // how often clients come back yet

	returned, recovered atomic.Int64
	missed              atomic.Int64 // events before CONNECT
	events              atomic.Int64
	bare                atomic.Int64 // events without an offset
	published           atomic.Int64

	mu      sync.Mutex
	reasons map[string]int // of refusals
	faults  []string       // events that were lost, doubled or out of order
}

func startCampaign(t *testing.T) *campaign {
	t.Helper()
	redis := testkit.StartRedis(t)
	c := &campaign{stop: make(chan struct{}), reasons: map[string]int{}}
	for range rateServers {
		d, err := rueidisdriver.FromURL(redis.URL())
		if err != nil {
			t.Fatal(err)
		}
		b := setup(t, sockeye.Config{
			Adapter:  &watched{redisadapter.Streams(d, streamsOptions).(adapter.RecoveryCluster), c},
			Recovery: &sockeye.Recovery{},
		})
		b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
			room, rooms := roomOf(s.ID()), s.Rooms()
			switch {
			case !s.Recovered():
				_ = s.Join(room) // the connection may have ended
			case !slices.Contains(rooms, room) && s.Connected():
				c.note(fmt.Sprintf("session %s without its room: %q", s.ID(), rooms))
			}
		})
		c.all = append(c.all, b)
	}
	return c
}

// roomOf is the room of a socket.
func roomOf(id string) string { return "t" + strconv.Itoa(1+int(id[0])%(rateTopics-1)) }

// run has all clients come back that often, while all servers publish.
func (c *campaign) run(t *testing.T, goal int) {
	t.Helper()
	for i := range c.all {
		c.work.Add(1)
		go c.publish(i)
	}
	var clients sync.WaitGroup
	c.left.Store(int64(goal))
	for range rateClients {
		clients.Add(1)
		r := &returner{c: c, t: t, at: rand.N(rateServers), next: map[string]int{}}
		go r.run(&clients)
	}
	clients.Wait()
	close(c.stop)
	c.work.Wait()
}

// publish sends numbers to everybody and to each room in turn. It ends when stop is closed.
func (c *campaign) publish(i int) {
	defer c.work.Done()
	pace := time.NewTicker(ratePace)
	defer pace.Stop()
	var next [rateTopics]int
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return
		case <-pace.C:
		}
		topic := n % rateTopics
		to := c.all[i].Of("/").All()
		if topic > 0 {
			to = to.To("t" + strconv.Itoa(topic))
		}
		if err := to.Emit("n", fmt.Sprint(i, "/", topic), next[topic]); err != nil {
			c.note("publish: " + err.Error())
		}
		c.published.Add(1)
		next[topic]++
	}
}

func (c *campaign) note(fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fault)
}

func (c *campaign) refused(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reasons[why]++
}

// early is how many were not recovered since an event came without an offset.
func (c *campaign) early() int64 {
	if c.bare.Load() == 0 {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.reasons["what its client has last has no offset"])
}

func (c *campaign) wrong() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.faults)
}

func (c *campaign) report(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d events published, %d received, %d of them without an offset, %d of them missed before; "+
		"%d clients came back, %d were recovered; refusals %v; wrong %d", c.published.Load(), c.events.Load(), c.bare.Load(),
		c.missed.Load(), c.returned.Load(), c.recovered.Load(), c.reasons, len(c.faults))
}

// watched tells the campaign why clients are not recovered.
type watched struct {
	adapter.RecoveryCluster

	c *campaign
}

// Open implements adapter.Cluster.
func (w *watched) Open(h adapter.Host) (adapter.Adapter, error) {
	a, err := w.RecoveryCluster.Open(h)
	if err != nil {
		return nil, err
	}
	keeper, _ := a.(adapter.SessionKeeper)
	seq, _ := a.(adapter.Sequencer)
	return &watchedAdapter{a, keeper, seq, w.c}, nil
}

type watchedAdapter struct {
	adapter.Adapter
	adapter.SessionKeeper
	adapter.Sequencer

	c *campaign
}

// Restore implements adapter.Recoverer.
func (a *watchedAdapter) Restore(
	ctx context.Context, pid, offset string, resume func(s adapter.Session, missed []*parser.Packet) error,
) error {
	err := a.SessionKeeper.Restore(ctx, pid, offset, func(s adapter.Session, missed []*parser.Packet) error {
		a.c.missed.Add(int64(len(missed)))
		return resume(s, missed)
	})
	if err != nil {
		why := strings.TrimPrefix(err.Error(), adapter.ErrNotRecoverable.Error()+": ")
		if errors.Is(err, context.Canceled) {
			why = "the client is gone again"
		}
		a.c.refused(why)
	}
	return err
}

// returner is a client that goes from server to server without a word.
type returner struct {
	c    *campaign
	t    *testing.T
	at   int
	s    session
	next map[string]int // by publisher and topic; there from the first number on
}

// run ends when clients have come back often enough.
func (r *returner) run(all *sync.WaitGroup) {
	defer all.Done()
	for {
		if err := r.visit(); err != nil {
			r.c.note(err.Error())
			return
		}
		if r.c.left.Add(-1) < 0 {
			return
		}
	}
}

// visit connects, gets what it missed, reads for a while and goes.
func (r *returner) visit() error {
	p := &peer{t: r.t, in: make(chan message, 1<<12)}
	var err error
	p.conn, err = engineio.Dial(r.t.Context(), r.c.all[r.at].url, engineio.DialConfig{Transports: []string{"websocket"}}, p)
	if err != nil {
		return err
	}
	defer func() { _ = p.conn.Close() }()
	r.at = (r.at + rand.N(rateServers)) % rateServers
	was := r.s
	connect := "0"
	if was.PID != "" {
		connect += was.auth()
	}
	if err := p.conn.Send([]byte(connect), false); err != nil {
		return err
	}
	connected := false
	for n := 1 + rand.N(20); n > 0 || r.s.offset == ""; {
		select {
		case m := <-p.in:
			switch {
			case m.closed != "":
				return fmt.Errorf("closed: %s", m.closed)
			case !strings.HasPrefix(m.text, "0{"):
				r.event(m.text)
				if connected {
					n--
				}
			default:
				connected = true
				if !r.connected(m.text, was) {
					n = 60 // events, until its room is kept too
				}
			}
		case <-time.After(testkit.Scale(30 * time.Second)):
			return errors.New("nothing received")
		}
	}
	return nil
}

// connected is called with the answer to CONNECT. It is false where that is a new session.
func (r *returner) connected(text string, was session) bool {
	if was.PID != "" {
		r.c.returned.Add(1)
	}
	if text == fmt.Sprintf(`0{"sid":%q,"pid":%q}`, was.SID, was.PID) {
		r.c.recovered.Add(1)
		return true
	}
	r.s = session{}
	clear(r.next)
	decode(r.t, text[1:], &r.s)
	return false
}

// event checks the number of an event.
func (r *returner) event(text string) {
	var args []any
	decode(r.t, strings.TrimPrefix(text, "2"), &args)
	topic, number := args[1].(string), int(args[2].(float64))
	if want, ok := r.next[topic]; ok && number != want {
		r.c.note(fmt.Sprintf("%s %d instead of %d of %s", r.s.SID, number, want, topic))
	}
	r.next[topic] = number + 1
	r.c.events.Add(1)
	r.s.offset, _ = args[3].(string)
	if r.s.offset == "-" {
		r.c.bare.Add(1)
	}
}
