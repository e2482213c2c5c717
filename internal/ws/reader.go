package ws

// ReaderConfig is shared by any number of readers. It must not be changed while in use.
type ReaderConfig struct {
	MaxMessage   int64 // greatest message in bytes, after inflating; 0 = none is taken but empty ones
	MaxFragments int   // greatest number of frames of a message; 0 = 131,072
	Client       bool  // of a client: frames must not be masked. Else they must be
	Deflate      bool  // permessage-deflate without context takeover was agreed
}

// Sink takes what a [Reader] finds. The payload is valid during the call and may be changed.
// An error stops the reader and is returned by its Feed.
type Sink interface {
	// Message is given each complete message: Text or Binary. Text is valid UTF-8.
	Message(op Op, payload []byte) error

	// Control is given each Close, Ping and Pong; the payload of a Close is valid, see [ParseClose].
	Control(op Op, payload []byte) error
}

// Reader parses the frames of one connection. Between messages it holds no memory beside itself.
// It is not safe for concurrent use.
type Reader struct {
	cfg  *ReaderConfig
	part *part
	done bool
}

type part struct{}

// NewReader returns a reader; it may be copied as long as it was not fed.
func NewReader(cfg *ReaderConfig) Reader { return Reader{cfg: cfg} }

// Feed parses p, which are the next bytes of the connection in any portion, and calls s for what they
// complete. p may be changed during the call and is not kept. Errors are *[Error] for what the peer did
// wrong, and those of s; after an error and after a close frame everything that is fed is ignored.
//
// Protocol: RFC 6455, 5; RFC 7692, 7.2.2.
func (r *Reader) Feed(p []byte, s Sink) error { return nil }

// Release gives the memory of an incomplete message back. The reader ignores what it is fed later.
func (r *Reader) Release() {}
