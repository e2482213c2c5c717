package rueidisdriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// sentinels finds out from Sentinels which Redis is the master.
type sentinels struct {
	d     *Driver
	set   string // the name of the master
	nodes []*node

	watching sync.Once

	mu   sync.Mutex
	good int // the index of one that answered
}

func newSentinels(d *Driver, o rueidis.ClientOption) *sentinels {
	s := &sentinels{d: d, set: o.Sentinel.MasterSet}
	d.addr = fmt.Sprintf("%s of the Sentinels %s", s.set, d.addr)
	own := rueidis.ClientOption{
		Username: o.Sentinel.Username, Password: o.Sentinel.Password, ClientName: o.Sentinel.ClientName,
		TLSConfig: o.Sentinel.TLSConfig, Dialer: o.Sentinel.Dialer,
		AlwaysRESP2: o.AlwaysRESP2, DialCtxFn: o.DialCtxFn, ConnWriteTimeout: probeTimeout,
		RingScaleEachConn: 6, ReadBufferEachConn: 4 << 10, WriteBufferEachConn: 4 << 10,
	}
	for _, addr := range o.InitAddress {
		s.nodes = append(s.nodes, d.newNode(addr, common(own), nil))
	}
	return s
}

var errNoMaster = errors.New("the Sentinel knows no master of that name")

// ask gives the address of the master by one Sentinel.
func (s *sentinels) ask(ctx context.Context, n *node) (addr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err = n.ask(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.SentinelGetMasterAddrByName().Master(s.set).Build()
	}, func(r rueidis.RedisResult) error {
		list, err := r.AsStrSlice()
		if rueidis.IsRedisNil(err) {
			return errNoMaster
		}
		if err == nil && len(list) != 2 {
			err = errReply
		}
		if err == nil {
			addr = net.JoinHostPort(list[0], list[1])
		}
		return err
	})
	return addr, err
}

// resolve gives the address of the master. It asks one Sentinel after another, the one that answered last time first,
// and has the master itself confirm.
func (s *sentinels) resolve(ctx context.Context) (string, error) {
	s.watching.Do(func() { s.d.start(s.watch) })
	s.mu.Lock()
	good := s.good
	s.mu.Unlock()
	var errs []error
	for i := range s.nodes {
		i = (good + i) % len(s.nodes)
		addr, err := s.ask(ctx, s.nodes[i])
		if err == nil {
			err = s.confirm(ctx, addr)
		}
		if err == nil {
			s.mu.Lock()
			s.good = i
			s.mu.Unlock()
			return addr, nil
		}
		if !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", errors.Join(errs...)
}

// confirm returns nil when a Redis says that it is a master, or may not say. One that was promoted knows it before all
// Sentinels do, and one that was deposed may know it later.
func (s *sentinels) confirm(ctx context.Context, addr string) error {
	n := &node{d: s.d, addr: addr, option: s.d.option}
	n.option.InitAddress = []string{addr}
	n.option.RingScaleEachConn = 6
	n.option.ConnWriteTimeout = probeTimeout
	defer n.close()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := n.ask(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Role().Build() },
		func(r rueidis.RedisResult) error {
			list, err := r.ToArray()
			if err != nil || len(list) == 0 {
				return errors.Join(errReply, err)
			}
			if role, _ := list[0].ToString(); role != "master" {
				return n.fail(fmt.Errorf("it is to be the master and says that it is a %s", role))
			}
			return nil
		})
	if answered(refusal(err)) {
		return nil
	}
	return err
}

// watch closes the connections to a master that is one no more, which Sentinels themselves do only when they reach it.
// It ends when the driver is closed.
func (s *sentinels) watch() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	answers := make([]string, len(s.nodes))
	for i := 0; ; i = (i + 1) % len(s.nodes) {
		select {
		case <-tick.C:
		case <-s.d.ctx.Done():
			return
		}
		addr, err := s.ask(s.d.ctx, s.nodes[i])
		if err != nil {
			continue
		}
		if old := answers[i]; old != "" && old != addr {
			if s.confirm(s.d.ctx, addr) != nil {
				continue // it is asked again
			}
			s.d.drop(func(c *boundConn) bool { return c.n == s.d.publisher && c.addr != addr })
		}
		answers[i] = addr
	}
}
