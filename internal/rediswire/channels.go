package rediswire

import (
	"errors"
	"strings"
)

// ErrNamespace is the error for a namespace whose name cannot be part of a channel's name.
var ErrNamespace = errors.New("rediswire: namespace with control characters")

// Channels are the names that the classic adapter uses for one namespace.
//
// Node: @socket.io/redis-adapter/lib/index.ts RedisAdapter constructor.
type Channels struct {
	Broadcast string // all sockets, and the start of the channel of each room
	Pattern   string // what to subscribe to for both
	Request   string
	Response  string // common to all servers
	Own       string // for answers to the server of that uid alone
}

// NewChannels names the channels of a namespace. key is the common prefix, "socket.io" by default.
//
// Differs from Node: the pattern stands for these channels only, also where the namespace has a character
// that is special in patterns.
func NewChannels(key, namespace, uid string) (Channels, error) {
	if !plainNamespace(namespace) {
		return Channels{}, ErrNamespace
	}
	c := Channels{
		Broadcast: key + "#" + namespace + "#",
		Request:   key + "-request#" + namespace + "#",
		Response:  key + "-response#" + namespace + "#",
	}
	c.Pattern = EscapePattern(c.Broadcast) + "*"
	c.Own = OwnResponse(c.Response, uid)
	return c, nil
}

// OwnResponse names the response channel of one server from the common one and the server's uid.
func OwnResponse(response, uid string) string { return response + uid + "#" }

// Room names the channel of one room.
func (c *Channels) Room(room string) string { return c.Broadcast + room + "#" }

// RoomOf gives the room whose channel this is. ok is false for the channel of all sockets and for names
// that belong to no room.
func (c *Channels) RoomOf(channel string) (room string, ok bool) {
	rest, found := strings.CutPrefix(channel, c.Broadcast)
	if !found || rest == "" || rest[len(rest)-1] != '#' {
		return "", false
	}
	return rest[:len(rest)-1], true
}

// EscapePattern gives a pattern that matches s and nothing else.
//
// Protocol: Redis, "PSUBSCRIBE".
func EscapePattern(s string) string {
	if !strings.ContainsAny(s, `*?[\`) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		switch s[i] {
		case '*', '?', '[', '\\':
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ShardChannels are the names that the sharded adapter uses for one namespace, and the adapter of streams for its
// requests.
//
// Node: @socket.io/redis-adapter/lib/sharded-adapter.ts ShardedRedisAdapter constructor.
type ShardChannels struct {
	Common string // all servers, and the start of the other names
	Own    string // for answers to the server of that uid alone
}

// NewShardChannels names the channels of a namespace. prefix is "socket.io" by default.
func NewShardChannels(prefix, namespace, uid string) (ShardChannels, error) {
	if !plainNamespace(namespace) {
		return ShardChannels{}, ErrNamespace
	}
	c := ShardChannels{Common: prefix + "#" + namespace + "#"}
	c.Own = c.Response(uid)
	return c, nil
}

// Room names the channel of one room.
func (c *ShardChannels) Room(room string) string { return c.Common + room + "#" }

// Response names the channel for answers to the server of that uid.
func (c *ShardChannels) Response(uid string) string { return OwnResponse(c.Common, uid) }

func plainNamespace(namespace string) bool {
	return !strings.ContainsFunc(namespace, func(r rune) bool { return r < ' ' || r == 0x7f })
}
