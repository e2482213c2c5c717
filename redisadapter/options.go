package redisadapter

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// PubSubOptions configure [PubSub]. The zero value is what the official adapter does by default.
type PubSubOptions struct {
	// Key is the start of the names of all channels. Default "socket.io". All servers of a cluster use the same, and
	// no other application on the same Redis does.
	Key string

	// RequestsTimeout bounds questions to other servers whose context has no deadline. Default 5 s.
	RequestsTimeout time.Duration

	// SpecificResponses answers a server that asks on a channel of its own, so that the others need not read the
	// answer. Servers older than @socket.io/redis-adapter 7.1 do not hear it. Default off.
	//
	// Node: publishOnSpecificResponseChannel.
	SpecificResponses bool

	// PublishQueue bounds what waits to be published, in messages (default 65,536) and bytes (default 64 MiB); one
	// message always fits. When it is full the oldest messages are dropped and counted.
	PublishQueue      int
	PublishQueueBytes int

	// OnFault, if set, is told of what goes wrong and is survived: malformed messages, a lost and restored subscription,
	// dropped messages; at most once a second for each kind and namespace. It must not block. namespace is "" where
	// all are concerned.
	OnFault func(namespace string, err error)
}

const (
	defaultKey               = "socket.io"
	defaultRequestsTimeout   = 5 * time.Second
	defaultPublishQueue      = 1 << 16
	defaultPublishQueueBytes = 64 << 20
)

func (o PubSubOptions) bus() busOptions {
	return busOptions{o.RequestsTimeout, o.PublishQueue, o.PublishQueueBytes, o.OnFault}
}

func (o PubSubOptions) validate() error {
	return errors.Join(validName("Key", o.Key), o.bus().validate())
}

// busOptions are those that all adapters have in common.
type busOptions struct {
	RequestsTimeout   time.Duration
	PublishQueue      int
	PublishQueueBytes int
	OnFault           func(namespace string, err error)
}

func (o busOptions) withDefaults() busOptions {
	if o.RequestsTimeout == 0 {
		o.RequestsTimeout = defaultRequestsTimeout
	}
	if o.PublishQueue == 0 {
		o.PublishQueue = defaultPublishQueue
	}
	if o.PublishQueueBytes == 0 {
		o.PublishQueueBytes = defaultPublishQueueBytes
	}
	return o
}

func (o busOptions) validate() error {
	var faults []error
	if o.RequestsTimeout < 0 {
		faults = append(faults, fmt.Errorf("redisadapter: RequestsTimeout is negative: %v", o.RequestsTimeout))
	}
	if o.PublishQueue < 0 || o.PublishQueueBytes < 0 {
		faults = append(faults, errors.New("redisadapter: PublishQueue and PublishQueueBytes must not be negative"))
	}
	return errors.Join(faults...)
}

// validName checks an option that names of channels or keys start with.
func validName(option, name string) error {
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f {
			return fmt.Errorf("redisadapter: %s has control characters", option)
		}
	}
	return nil
}

// Stats counts what an adapter did since it was made. Each Cluster of this package has a method Stats() Stats.
type Stats struct {
	Published uint64 // messages that Redis accepted
	Dropped   uint64 // messages dropped from the full queue, or while closing
	Failed    uint64 // messages that Redis refused or that a lost connection swallowed, perhaps after Redis had them
	Received  uint64 // messages from other servers that concerned this one
	Malformed uint64 // messages that could not be read and were skipped
	Unknown   uint64 // responses that nobody here waits for, such as those to other servers
	Gaps      uint64 // times the subscription was lost
	Servers   int    // other servers of this implementation that are there at the moment

	// Batches counts the batches that messages are sent to Redis in, BatchTime is how long Redis took to answer them
	// together.
	Batches   uint64
	BatchTime time.Duration

	// Waiting and WaitingBytes are what waits at the moment to be sent to Redis, in messages and bytes, Unread the
	// messages from Redis that wait to be handled.
	Waiting, WaitingBytes, Unread int
}

type counters struct {
	published, dropped, failed, received, malformed, unknown, gaps atomic.Uint64

	batches   atomic.Uint64
	batchTime atomic.Int64 // nanoseconds
}

// batch counts a batch that was sent at a time.
func (c *counters) batch(at time.Time) {
	c.batches.Add(1)
	c.batchTime.Add(int64(time.Since(at)))
}

func (c *counters) stats() Stats {
	return Stats{
		Published: c.published.Load(), Dropped: c.dropped.Load(), Failed: c.failed.Load(),
		Received: c.received.Load(), Malformed: c.malformed.Load(), Unknown: c.unknown.Load(), Gaps: c.gaps.Load(),
		Batches: c.batches.Load(), BatchTime: time.Duration(c.batchTime.Load()),
	}
}
