package interop

import (
	"fmt"
	"testing"
)

// broadcasts checks who gets what, from each server.
func (c *cluster) broadcasts() { c.eachOf((*cluster).checkBroadcasts, (*cluster).checkLocal) }

// acks checks that everybody is asked and that every answer comes, by each server.
func (c *cluster) acks() { c.eachOf((*cluster).checkAcks) }

// fetches checks what each server tells of sockets.
func (c *cluster) fetches() { c.eachOf((*cluster).checkFetch) }

// commands checks that sockets on every server do as they are told, by each server.
func (c *cluster) commands() {
	c.eachOf((*cluster).checkJoin, (*cluster).checkLeave, (*cluster).checkDisconnect)
}

// serverSides checks that servers hear and answer each other.
func (c *cluster) serverSides() { c.eachOf((*cluster).checkServerSide, (*cluster).checkServerSideAcks) }

func (c *cluster) eachOf(checks ...func(*cluster, string)) {
	c.each(func(_ *testing.T, from string, _ server) {
		for _, check := range checks {
			check(c, from)
		}
	})
}

func TestCluster_Broadcast(t *testing.T) {
	t.Parallel()
	startCluster(t, clusterOptions{}).broadcasts()
}

// bothResponses runs a test with each of the two ways in which servers answer.
func bothResponses(t *testing.T, f func(*cluster)) {
	t.Helper()
	for _, specific := range []bool{false, true} {
		t.Run(fmt.Sprintf("specific responses %v", specific), func(t *testing.T) {
			t.Parallel()
			f(startCluster(t, clusterOptions{specific: specific}))
		})
	}
}

func TestCluster_BroadcastWithAck(t *testing.T) {
	t.Parallel()
	bothResponses(t, (*cluster).acks)
}

func TestCluster_FetchSockets(t *testing.T) {
	t.Parallel()
	bothResponses(t, (*cluster).fetches)
}

func TestCluster_JoinLeaveDisconnect(t *testing.T) {
	t.Parallel()
	startCluster(t, clusterOptions{}).commands()
}

func TestCluster_ServerSideEmit(t *testing.T) {
	t.Parallel()
	bothResponses(t, (*cluster).serverSides)
}

func TestCluster_Namespaces(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	for _, nsp := range []string{"/chat", "/dynamic-x"} {
		for _, name := range c.order {
			c.open(nsp+name, name, nsp, "red")
		}
		if nsp == "/dynamic-x" {
			// The servers subscribe when the first client comes.
			eventually(t, "three servers in "+nsp, func() bool {
				var count int
				c.servers["node"].(*nodeServer).p.do("servers", obj{"nsp": nsp}, &count)
				return count == 3
			})
		}
		c.each(func(t *testing.T, from string, s server) {
			s.emit(selection{NSP: nsp, Rooms: []string{"red"}}, "to "+from, deep())
			for _, name := range c.order {
				c.clients[nsp+name].want("to "+from, deep())
			}
			replies, timedOut := s.call(selection{NSP: nsp}, limit, "question", 1)
			same(t, "acks", list{replies, timedOut}, list{list{1, 1, 1}, false})
			same(t, "fetch", len(s.fetch(selection{NSP: nsp})), 3)
		})
	}
	// Nothing came across into the main namespace.
	for _, name := range []string{"node-a", "go1-a", "go2-a"} {
		same(t, name, c.clients[name].events(), nil)
	}
}
