package redisadapter

import (
	"context"
	"errors"

	"github.com/sockeye-io/sockeye/adapter"
)

var (
	// ErrClosed is returned by methods of what was closed. It is that of package adapter.
	ErrClosed = adapter.ErrClosed

	// ErrUnavailable is wrapped by errors that say that Redis cannot be used at the moment.
	ErrUnavailable = errors.New("redisadapter: redis is unavailable")

	// ErrDropped is returned where a message was dropped because the queue of those to publish was full.
	ErrDropped = errors.New("redisadapter: message dropped, the publish queue is full")
)

// Driver is what an adapter needs of a Redis client. Its methods are safe for concurrent use. A driver belongs to
// one cluster, which closes it.
type Driver interface {
	// Connect returns nil as soon as Redis answers. It tries once and gives up when ctx ends. Its error names the
	// address, and never a password.
	Connect(ctx context.Context) error

	// Publish publishes the batch in order over one connection, which is the same for all batches. With an error, the
	// first sent messages of the batch may have been published, and the others certainly have not.
	Publish(ctx context.Context, batch []Publication) (sent int, err error)

	// Subscribe opens one connection for any number of subscriptions and keeps it open: when it is lost, r is told
	// so at once, and again when everything is subscribed anew.
	Subscribe(ctx context.Context, r Receiver) (Subscription, error)

	// Subscribers counts the connections that are subscribed to a channel, patterns aside.
	Subscribers(ctx context.Context, channel string) (int, error)

	// Close closes all connections and waits for all goroutines of the driver.
	Close() error
}

// Publication is one message for a channel. The payload does not change any more.
type Publication struct {
	Channel string
	Payload []byte
}

// Receiver takes what a subscription brings. Its methods are called one at a time. Message may block when the
// receiver is behind; it never waits for a method of the subscription.
type Receiver interface {
	// Message takes a message that was published on channel. pattern is what it was found by, "" where channel is
	// subscribed by its name.
	Message(pattern, channel, payload string)

	// Lost tells that nothing comes until Restored: what is published in between is lost.
	Lost(err error)

	// Restored tells that all is subscribed again.
	Restored()
}

// Topics are channels, and patterns that stand for several, each at most once in a Subscription.
type Topics struct {
	Channels, Patterns []string
}

// Subscription is a subscriber connection. Its methods are safe for concurrent use.
type Subscription interface {
	// Add subscribes to further topics. It returns when Redis has confirmed them. With an error, when ctx has ended
	// or the connection is lost, they are kept and will be subscribed by and by.
	Add(ctx context.Context, t Topics) error

	// Remove unsubscribes. It returns when Redis has confirmed that, or with an error when ctx has ended or the
	// connection is lost, and then the topics are gone too, sooner or later.
	Remove(ctx context.Context, t Topics) error

	// Close closes the connection and returns when no method of the Receiver runs any more.
	Close() error
}
