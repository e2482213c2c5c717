package client

import "github.com/sockeye-io/sockeye/internal/event"

// The vocabulary that the client shares with the server and the emitter.
type (
	// Message is one incoming event.
	//
	// Protocol: socket.io v5, "Sending and receiving data"
	Message = event.Message

	// Handler takes incoming events. An error that is or wraps a [*PeerError] answers an event that wants an
	// acknowledgement; any other goes to Config.OnError.
	//
	// Protocol: socket.io v5, "Sending and receiving data"
	Handler = event.Handler

	// HandlerFunc is a function as a Handler.
	//
	// Protocol: socket.io v5, "Sending and receiving data"
	HandlerFunc = event.HandlerFunc

	// Reply is one acknowledgement.
	//
	// Protocol: socket.io v5, "Acknowledgement"
	Reply = event.Reply

	// AckError reports that the server did not answer. It wraps the reason: context.DeadlineExceeded, the cause of a
	// context, or the [Reason] of a disconnect.
	//
	// Protocol: socket.io v5, "Acknowledgement"
	AckError = event.AckError

	// PeerError is an error that the application wants its peer to see.
	//
	// Protocol: socket.io v5, "Acknowledgement"
	PeerError = event.PeerError

	// Args is to be embedded in a struct: it makes the exported fields positional arguments.
	//
	// Protocol: socket.io v5, "Sending and receiving data"
	Args = event.Args

	// Event is the name of an event with its type.
	//
	// Protocol: socket.io v5, "Sending and receiving data"
	Event[T any] = event.Event[T]

	// Call is the name of an event that is answered, with the types of question and answer.
	//
	// Protocol: socket.io v5, "Acknowledgement"
	Call[Req, Res any] = event.Call[Req, Res]
)

// Func makes a Handler of a plain function such as func(ctx context.Context, name string, n int) (string, error),
// whose parameters are the arguments of the event and whose results are the acknowledgement. It panics if fn is no
// such function.
//
// Protocol: socket.io v5, "Sending and receiving data"
func Func(fn any) Handler { return event.Func(fn) }

var (
	_ event.Target   = (*Socket)(nil)
	_ event.Target   = Sender{}
	_ event.Caller   = (*Socket)(nil)
	_ event.Listener = (*Socket)(nil)
)
