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

	// ErrNotSent is wrapped by the error of a Driver for a message that Redis has certainly not got, or has refused in a
	// way that may pass, so that it can be sent again without being there twice.
	ErrNotSent = errors.New("redisadapter: not sent")

	// ErrForbidden is wrapped by the error for topics that Redis refuses to the user, which its ACL must allow.
	ErrForbidden = errors.New("redisadapter: redis does not allow it")

	// ErrDropped is returned where a message was dropped because the queue of those to publish was full.
	ErrDropped = errors.New("redisadapter: message dropped, the publish queue is full")

	// ErrTooLarge is returned where a message is larger than 64 MiB, which is not published. One that comes from another
	// server is skipped, counted as malformed and reported with this error.
	ErrTooLarge = errors.New("redisadapter: message larger than 64 MiB")
)

const maxMessage = 64 << 20

// Driver is what an adapter needs of a Redis client. Its methods are safe for concurrent use. A driver belongs to
// one cluster, which closes it.
type Driver interface {
	// Connect returns nil as soon as Redis answers. It tries once and gives up when ctx ends. Its error names the
	// address, and never a password.
	Connect(ctx context.Context) error

	// Publish publishes the batch, in order where messages share a connection: all that are not Sharded do, in this batch
	// and all others, and so do those of one Sharded channel. It returns nil, or for each message nil or why it is not
	// known to be published: an error that wraps ErrNotSent means that it certainly was not.
	Publish(ctx context.Context, batch []Publication) []error

	// Subscribe opens one connection for any number of subscriptions, in a Redis Cluster one to each master for those that
	// are Sharded, and keeps them open: when one is lost, or a slot has moved, r is told so at once, and again when
	// everything is subscribed anew.
	Subscribe(ctx context.Context, r Receiver) (Subscription, error)

	// Subscribers counts the connections that are subscribed to a channel, patterns aside. In a Redis Cluster it is the
	// sum over the masters.
	Subscribers(ctx context.Context, channel string) (int, error)

	// ShardSubscribers is Subscribers for a channel of Topics.Sharded.
	ShardSubscribers(ctx context.Context, channel string) (int, error)

	// Close closes all connections and waits for all goroutines of the driver.
	Close() error
}

// Publication is one message for a channel. The payload does not change any more.
type Publication struct {
	Channel string
	Payload []byte
	Sharded bool // by SPUBLISH, which only those get who subscribed by Topics.Sharded
}

// Receiver takes what a subscription brings. Its methods are called one at a time. Message may block when the
// receiver is behind; it never waits for a method of the subscription.
type Receiver interface {
	// Message takes a message that was published on channel. pattern is what it was found by, "" where channel is
	// subscribed by its name.
	Message(pattern, channel, payload string)

	// Lost tells that something may not come until Restored: what is published in between may be lost.
	Lost(err error)

	// Restored tells that all is subscribed again.
	Restored()
}

// Topics are channels, patterns that stand for several, and channels of SPUBLISH, each at most once in a Subscription.
type Topics struct {
	Channels, Patterns, Sharded []string
}

// Subscription is a subscriber connection. Its methods are safe for concurrent use.
type Subscription interface {
	// Add subscribes to further topics. It returns when Redis has confirmed them. With an error, when ctx has ended
	// or the connection is lost, they are kept and will be subscribed by and by; but ErrForbidden says that Redis has
	// refused at least one of them.
	Add(ctx context.Context, t Topics) error

	// Remove unsubscribes. It returns when Redis has confirmed that, or with an error when ctx has ended or the
	// connection is lost, and then the topics are gone too, sooner or later.
	Remove(ctx context.Context, t Topics) error

	// Close closes the connection and returns when no method of the Receiver runs any more.
	Close() error
}
