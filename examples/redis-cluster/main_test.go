package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// sees waits until a server knows of exactly these users.
func sees(t *testing.T, url string, want ...string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprint(want, " are online"), func() bool {
		res, err := http.Get(url + "/online")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var got struct {
			Users    []struct{ ID string }
			Complete bool
		}
		if json.NewDecoder(res.Body).Decode(&got) != nil || !got.Complete {
			return false
		}
		var ids []string
		for _, u := range got.Users {
			ids = append(ids, u.ID)
		}
		return slices.Equal(ids, want)
	})
}

// person is a client, and what it has heard in the chat.
type person struct {
	*harness.Client

	heard chan string
}

func connect(t *testing.T, url, user string) person {
	t.Helper()
	p := person{heard: make(chan string, 1000)}
	p.Client = harness.Connect(t, url, func(c *client.Config) {
		c.Auth = map[string]string{"user": user}
		c.Setup = func(s *client.Socket) {
			s.On("chat", client.Func(func(user, text string) { p.heard <- user + ": " + text }))
		}
	})
	return p
}

// reach says something until all others have heard it: what is said while Redis elects a master may be lost.
func reach(t *testing.T, from person, text string, others ...person) {
	t.Helper()
	missing := slices.Clone(others)
	n := 0
	testkit.Eventually(t, text+" is heard", func() bool {
		n++
		if err := from.Emit("chat", fmt.Sprint(text, " ", n)); err != nil {
			t.Fatal(err)
		}
		missing = slices.DeleteFunc(missing, func(p person) bool {
			for {
				select {
				case got := <-p.heard:
					if strings.Contains(got, text) {
						return true
					}
				default:
					return false
				}
			}
		})
		return len(missing) == 0
	})
}

// Three servers over six nodes: who is online is known everywhere, and a master that dies changes nothing of it. No server
// and no client starts again.
func TestRedisCluster_MasterKilled(t *testing.T) {
	t.Parallel()
	redis := testkit.StartCluster(t, 3, 1)
	bin := harness.Build(t, ".")
	var servers []*harness.Program
	var people []person
	for i := range 3 {
		s := harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", "redis+cluster://"+strings.Join(redis.Addrs(), ","), "-expiry", "10s")
		servers = append(servers, s)
		people = append(people, connect(t, s.URL, fmt.Sprint("user", i)))
	}
	ids := func() (all []string) {
		for _, p := range people {
			all = append(all, p.ID())
		}
		return all
	}
	before := ids()
	for _, s := range servers {
		sees(t, s.URL, "user0", "user1", "user2")
	}
	reach(t, people[0], "before", people[1], people[2])

	// The master that has the users of the namespace.
	key := "sockeye:presence:{/|}:users"
	at := slices.IndexFunc(redis.Nodes, func(n *testkit.Redis) bool {
		reply, err := n.Try("ZCARD", key)
		return err == nil && reply == int64(3)
	})
	if at < 0 {
		t.Fatal("no master has the users")
	}
	redis.Nodes[at].Stop()
	testkit.Eventually(t, "the replica has taken over", func() bool {
		return slices.ContainsFunc(redis.Nodes, func(n *testkit.Redis) bool {
			if !n.Running() {
				return false
			}
			reply, err := n.Try("ZCARD", key)
			return err == nil && reply != int64(0)
		})
	})
	late := connect(t, servers[1].URL, "late")
	for _, s := range servers {
		sees(t, s.URL, "late", "user0", "user1", "user2")
	}
	for i := range people {
		reach(t, people[i], fmt.Sprint("after ", i), people[(i+1)%3], people[(i+2)%3], late)
	}
	if err := people[0].Manager().Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		sees(t, s.URL, "late", "user1", "user2")
		if !s.Running() {
			t.Error("a server has ended")
		}
	}
	if now := ids()[1:]; !slices.Equal(now, before[1:]) {
		t.Errorf("clients had to connect again: %q, before %q", now, before)
	}
	// A server that is killed takes its users with it, within the expiry.
	servers[2].Kill()
	for _, s := range servers[:2] {
		sees(t, s.URL, "late", "user1")
	}
}
