package testkit

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

func TestRedis_Kinds(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *Redis{
		"plain":    func(t *testing.T) *Redis { return StartRedis(t) },
		"unix":     func(t *testing.T) *Redis { return StartUnixRedis(t) },
		"TLS":      func(t *testing.T) *Redis { return StartTLSRedis(t, NewCertificate(t)) },
		"password": func(t *testing.T) *Redis { return StartRedis(t, "--requirepass", "secret") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			if _, err := r.Try("PING"); err != nil || (r.Password != "") != (name == "password") {
				t.Errorf("password %q, %v", r.Password, err)
			}
			r.Stop()
			if _, err := r.Try("PING"); err == nil || r.Running() {
				t.Error("it answers after Stop")
			}
			r.Start()
			if !r.Running() || !strings.Contains(r.URL(), r.Addr) {
				t.Error(r.URL())
			}
		})
	}
}

func TestRedis_PortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr)
	first := true
	r := startRedis(t, func(_ *Redis, port string) []string {
		if first {
			_, port, _ = net.SplitHostPort(taken.String())
			first = false
		}
		return []string{"--port", port, "--bind", "127.0.0.1"}
	})
	if first || r.Port() == taken.Port {
		t.Errorf("port %d", r.Port())
	}
}

func TestRedis_Pause(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	c, err := r.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r.Pause()
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // a TCP connection has deadlines
	if n, err := c.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes from a paused process", n)
	}
	r.Resume()
	_ = c.SetReadDeadline(time.Time{})
	if reply, err := redisReply(bufio.NewReader(c)); reply != "PONG" || err != nil {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	master := StartRedis(t)
	replica := StartReplica(t, master)
	s := StartSentinels(t, master, 3)
	if m := s.Master(); m != master.Addr || len(s.Addrs()) != 3 {
		t.Errorf("master %s of %s", m, master.Addr)
	}
	master.Stop()
	Eventually(t, "the replica is promoted", func() bool {
		return s.Master() == replica.Addr && replica.Info("replication", "role") == "master"
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3, 1)
	slot := c.Slot("key")
	from := c.Owner(slot, 0)
	to := (from + 1) % 3
	c.Nodes[from].Do("SET", "key", "value")
	c.Move(slot, from, to)
	if v := c.Nodes[to].Do("GET", "key"); v != "value" {
		t.Errorf("value %v", v)
	}
	c.Failover(3 + to)
	Eventually(t, "the replica has the slot", func() bool { return c.Owner(slot, from) == 3+to })
	c.AwaitReady()
	c.Nodes[3+to].Stop()
	Eventually(t, "its replica takes over", func() bool { return c.Owner(slot, from) == to })
	c.AwaitReady()
}

func TestProxy(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	p := StartProxy(t, r.Addr)
	through := *r
	through.Addr = p.Addr
	for name, fault := range map[string]func(){
		"cut": p.Cut, "hang": func() { p.Hang(ToClient) }, "delay": func() { p.Delay(ToServer, time.Hour) },
	} {
		if reply := through.Do("PING"); reply != "PONG" {
			t.Fatalf("%s: %v", name, reply)
		}
		c, err := through.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fault()
		if name == "delay" { // what is under way would stay so
			p.Delay(ToServer, 20*time.Millisecond)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Millisecond)) // a TCP connection has deadlines
		_, _ = c.Write([]byte("PING\r\n"))                       // the reply tells
		if _, err := c.Read(make([]byte, 10)); err == nil {
			t.Errorf("%s: a reply", name)
		}
		p.Heal()
	}
	if p.Connections() < 6 {
		t.Errorf("%d connections", p.Connections())
	}
}
