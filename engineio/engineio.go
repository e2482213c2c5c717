package engineio

import "net/http"

// Handler is told of connections and their messages by plain calls, in order for each connection and one
// at a time. It must not block. Methods may be called concurrently for different connections.
type Handler interface {
	// OnOpen comes first. r is the request that opened the connection; its body must not be touched.
	// It is nil on the client side.
	OnOpen(c *Conn, r *http.Request)

	// OnMessage gives one message. data is valid during the call.
	OnMessage(c *Conn, data []byte, binary bool)

	// OnClose comes last, once. err has the detail and may be nil.
	OnClose(c *Conn, reason Reason, err error)
}

// UpgradeHandler is what a [Handler] may implement to be told of changes of transport.
type UpgradeHandler interface {
	Handler

	// OnUpgrade tells that c has gone over from polling to WebSocket, in order with its messages. Messages that are
	// sent from now on take the new transport.
	//
	// Node: the upgrade event of a socket
	OnUpgrade(c *Conn)
}

// Reason is why a connection ended, in the protocol's words.
type Reason string

// The reasons of Engine.IO.
const (
	ReasonTransportError Reason = "transport error"
	ReasonTransportClose Reason = "transport close"
	ReasonForcedClose    Reason = "forced close"
	ReasonPingTimeout    Reason = "ping timeout"
	ReasonParseError     Reason = "parse error"
)
