package redisadapter

import (
	"errors"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/internal/rediswire"
)

// ErrPrefixInUse is wrapped by the error of Start where servers with the classic adapter listen on the channels that
// requests between servers with [Streams] would be published on: they cannot read these.
var ErrPrefixInUse = errors.New("redisadapter: channel prefix is in use by the classic adapter")

// StreamsOptions configure [Streams]. The zero value is what the official adapter does by default. All servers of a
// cluster use the same.
type StreamsOptions struct {
	// StreamName is the name of the stream, or how the names start where there are several. Default "socket.io".
	StreamName string

	// StreamCount is over how many streams the namespaces are spread. Default 1, at most 1,024.
	StreamCount int

	// MaxLen is how many entries a stream keeps, about. Default 10,000. It bounds how long a server may be away, and a
	// client that wants to be recovered.
	MaxLen int

	// ReadCount is how many entries are read at once. Default 100.
	ReadCount int

	// Block is how long one read waits for entries. Default 5 s, at least 10 ms.
	//
	// Node: blockTimeInMs.
	Block time.Duration

	// ChannelPrefix is the start of the names of channels, which questions and answers between servers go by. Default
	// "socket.io".
	ChannelPrefix string

	// ShardedPubSub uses SSUBSCRIBE and SPUBLISH for them. Default off.
	//
	// Node: useShardedPubSub.
	ShardedPubSub bool

	// PlainText writes entries as JSON also where there is binary, which then arrives as the JSON of Node's Buffer.
	//
	// Node: onlyPlaintext.
	PlainText bool

	// SessionKeyPrefix is the start of the names of keys for connection state recovery. Default "sio:session:".
	SessionKeyPrefix string

	// IgnoreNegative leaves streams with negative numbers unread. With StreamCount > 1 the official adapter writes the
	// entries of about half the namespaces to such streams, which it does not read: these namespaces work on each of
	// its servers alone. By default this server reads what it and its like write there, and reports once for each such
	// namespace that official servers do not hear it.
	IgnoreNegative bool

	// RequestsTimeout bounds questions to other servers whose context has no deadline. Default 5 s.
	RequestsTimeout time.Duration

	// PublishQueue bounds what waits to be appended to streams, and also what waits to be published, each in messages
	// (default 65,536) and bytes (default 64 MiB); one message always fits. When it is full the oldest messages are
	// dropped and counted. Sockets of this server get them nevertheless.
	PublishQueue      int
	PublishQueueBytes int

	// OnFault, if set, is told of what goes wrong and is survived: malformed entries and messages, gaps, dropped
	// messages; at most once a second for each kind and namespace. It must not block. namespace is "" where all are
	// concerned.
	OnFault func(namespace string, err error)
}

const (
	defaultMaxLen        = 10_000
	defaultReadCount     = 100
	defaultBlock         = 5 * time.Second
	defaultSessionPrefix = "sio:session:"
	maxStreams           = 1024
	minBlock             = 10 * time.Millisecond
)

func (o StreamsOptions) bus() busOptions {
	return busOptions{o.RequestsTimeout, o.PublishQueue, o.PublishQueueBytes, o.OnFault}
}

func (o StreamsOptions) withDefaults() StreamsOptions {
	text := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	number := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	text(&o.StreamName, defaultKey)
	text(&o.ChannelPrefix, defaultKey)
	text(&o.SessionKeyPrefix, defaultSessionPrefix)
	number(&o.StreamCount, 1)
	number(&o.MaxLen, defaultMaxLen)
	number(&o.ReadCount, defaultReadCount)
	if o.Block == 0 {
		o.Block = defaultBlock
	}
	return o
}

// validate checks options with their defaults.
func (o StreamsOptions) validate() error {
	faults := []error{
		validName("StreamName", o.StreamName), validName("ChannelPrefix", o.ChannelPrefix),
		validName("SessionKeyPrefix", o.SessionKeyPrefix), o.bus().validate(),
	}
	if o.StreamCount < 1 || o.StreamCount > maxStreams {
		faults = append(faults, fmt.Errorf("redisadapter: StreamCount is not 1 to %d: %d", maxStreams, o.StreamCount))
	}
	if o.MaxLen < 1 || o.ReadCount < 1 {
		faults = append(faults, errors.New("redisadapter: MaxLen and ReadCount must be positive"))
	}
	if o.Block < minBlock {
		faults = append(faults, fmt.Errorf("redisadapter: Block is below %v: %v", minBlock, o.Block))
	}
	return errors.Join(faults...)
}

// stream gives the name of the stream of a namespace, and whether official servers do not read it.
func (o StreamsOptions) stream(namespace string) (name string, negative bool) {
	name = rediswire.StreamName(o.StreamName, namespace, o.StreamCount)
	rest := name[len(o.StreamName):]
	return name, len(rest) > 1 && rest[1] == '-'
}
