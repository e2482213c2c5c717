package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/presence"
	"github.com/sockeye-io/sockeye/relay/identity"
)

// aboutServer is the event that answers the one of the same name.
const aboutServer = reserved + "server"

// Peer is another server of the cluster, as browsers reach it.
type Peer struct {
	Name string `json:"name"`
	URL  string `json:"url"` // of the page
}

// about is what a client is told of the server and of itself.
type about struct {
	Name     string `json:"name"`
	Cluster  bool   `json:"cluster"`
	Recovery bool   `json:"recovery"`
	Identity bool   `json:"identity"` // clients are asked who they are
	Presence bool   `json:"presence"` // "sockeye:online" is answered
	Servers  []Peer `json:"servers"`  // the others
	You      you    `json:"you"`
}

type you struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	User    string   `json:"user,omitempty"`
	Rooms   []string `json:"rooms,omitempty"`   // patterns of the token
	Expires int64    `json:"expires,omitempty"` // ms since 1970
}

// about answers "sockeye:server" with an event, not with the acknowledgement alone: a client that has got an event can have
// its session recovered.
func (s *Server) about(_ context.Context, sock *sockeye.Socket, _ *sockeye.Message) (any, error) {
	a := accountOf(sock)
	u := a.who()
	info := about{
		Name: s.name, Cluster: s.clustered, Recovery: s.recovery, Identity: s.identity != nil, Presence: s.record != nil, Servers: []Peer{},
		You: you{ID: identity.PublicID(sock.ID(), sock.Handshake().Query), Name: a.profile().Name, User: u.ID, Rooms: u.Rooms},
	}
	if !u.Expires.IsZero() {
		info.You.Expires = u.Expires.UnixMilli()
	}
	if s.peers != nil {
		info.Servers = append(info.Servers, s.peers()...)
	}
	return nil, sock.Emit(aboutServer, info)
}

type onlineAck struct {
	OK       bool `json:"ok"`
	Users    int  `json:"users"`
	Complete bool `json:"complete"` // all servers are counted
}

// online counts the users of the cluster.
func (s *Server) online(ctx context.Context, _ *sockeye.Socket, _ *sockeye.Message) (any, error) {
	if s.record == nil {
		return nil, errNoPresence
	}
	done, err := s.lookup()
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	n, err := s.record.Count(ctx)
	if err != nil && !errors.Is(err, presence.ErrPartial) {
		return nil, errBusy
	}
	return onlineAck{OK: true, Users: n, Complete: err == nil}, nil
}

// someName tells a server from others and nothing else of it.
func someName() string { return "server-" + strings.ToLower(rand.Text()[:4]) }
