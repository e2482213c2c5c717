package load

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

// Scenario is what the connections do once they are open.
type Scenario string

// The scenarios.
const (
	Idle   Scenario = "connect" // nothing
	Echo   Scenario = "echo"    // each asks for acknowledgements
	Fanout Scenario = "fanout"  // one of each room publishes, the others receive
)

// The transports of a connection.
const (
	WebSocket = "websocket"
	Polling   = "polling"
	Upgrade   = "upgrade" // from polling to WebSocket
)

// MinFanoutPayload is how many bytes the payload of [Fanout] has at least: in it are the time and the room.
const MinFanoutPayload = 48

// Config says what load to put on which server. It travels to workers as JSON.
type Config struct {
	URL       string          `json:"url"` // http, https, ws or wss
	Path      string          `json:"path"`
	Namespace string          `json:"namespace"`
	EIO       int             `json:"eio"`                // the version of Engine.IO: 4, or 3 for servers of Socket.IO 2
	Transport string          `json:"transport"`          // WebSocket, Polling or Upgrade
	Header    http.Header     `json:"header,omitempty"`   // of all requests
	Auth      json.RawMessage `json:"auth,omitempty"`     // of CONNECT, an object; none with version 3
	Msgpack   bool            `json:"msgpack,omitempty"`  // the server has the MessagePack parser
	Insecure  bool            `json:"insecure,omitempty"` // believe in any certificate
	CA        string          `json:"ca,omitempty"`       // file with the certificates to trust; "" = those of the system

	// Target is the address to connect to, host and port, whatever the host of URL resolves to; "" = by its name.
	Target string `json:"target,omitempty"`

	// Sources are addresses of this machine; connections take them by turns. Empty = as the system chooses.
	Sources []netip.Addr `json:"sources,omitempty"`

	Scenario    Scenario `json:"scenario"`
	Connections int      `json:"connections"`
	Ramp        float64  `json:"ramp"`  // connections opened per second at most, in all
	Rooms       int      `json:"rooms"` // of Fanout; 0 = there are none and all connections are one group

	// Rate is how many events are sent per second, by all connections together. 0 with Echo = each connection sends
	// when it has an acknowledgement, InFlight at once.
	Rate     float64       `json:"rate"`
	InFlight int           `json:"in_flight"`
	Payload  int           `json:"payload"`  // bytes of the text that an event carries
	Duration time.Duration `json:"duration"` // of sending, or of being idle
	Timeout  time.Duration `json:"timeout"`  // to open a connection

	Event   string `json:"event"`   // what Echo sends, and what the others get with Fanout
	Join    string `json:"join"`    // Fanout with rooms: joins the room that is its argument, and is acknowledged
	Publish string `json:"publish"` // Fanout with rooms: its argument is {room, event, data}
}

// Validate reports all faults.
func (c Config) Validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(c.Scenario != Idle && c.Scenario != Echo && c.Scenario != Fanout, "load: scenario %q", c.Scenario)
	wrong(c.Transport != WebSocket && c.Transport != Polling && c.Transport != Upgrade, "load: transport %q", c.Transport)
	wrong(c.EIO != 3 && c.EIO != 4, "load: version %d of Engine.IO", c.EIO)
	wrong(c.EIO == 3 && len(c.Auth) > 0, "load: servers of Socket.IO 2 take no auth")
	wrong(c.Connections < 1, "load: %d connections", c.Connections)
	wrong(c.Ramp <= 0, "load: a ramp of %v connections per second", c.Ramp)
	wrong(c.Rate < 0, "load: a rate of %v", c.Rate)
	wrong(c.InFlight < 1 || c.InFlight > maxPending, "load: %d events in flight, of at most %d", c.InFlight, maxPending)
	wrong(c.Payload < 0 || c.Payload > 64<<20, "load: a payload of %d bytes", c.Payload)
	wrong(c.Duration <= 0 || c.Timeout <= 0, "load: a duration that is not above 0")
	wrong(len(c.Namespace) == 0 || c.Namespace[0] != '/', "load: namespace %q does not begin with a slash", c.Namespace)
	wrong(parser.Reserved(c.Event), "load: %q is an event that only the protocol may send", c.Event)
	if c.Scenario == Fanout {
		wrong(c.Rooms < 0, "load: %d rooms", c.Rooms)
		wrong(c.Rate == 0, "load: nothing is published without a rate")
		wrong(c.Payload < MinFanoutPayload, "load: the payload must have %d bytes at least: the time is in it", MinFanoutPayload)
		wrong(c.Connections < 2*c.groups(), "load: %d connections are too few: a room needs one that publishes and one that receives", c.Connections)
		wrong(c.groups() > maxGroups, "load: more than %d rooms", maxGroups)
	} else {
		wrong(c.Rooms != 0, "load: only fan-out has rooms")
	}
	return errors.Join(errs...)
}

// maxGroups is what the field of a payload holds.
const maxGroups = 1_000_000

// groups counts the sets of connections that get the same.
func (c Config) groups() int { return max(c.Rooms, 1) }

// senders counts those of the connections from first on, before last, that send.
func (c Config) senders(first, last int) int {
	switch c.Scenario {
	case Echo:
		return last - first
	case Fanout:
		return max(0, min(last, c.groups())-first) // the first of each room, and these come first of all
	default:
		return 0
	}
}

// share is a worker's part of a run.
type share struct {
	Config Config `json:"config"`
	Run    string `json:"run"`   // names the run; hexadecimal
	First  int    `json:"first"` // its connections, of all
	Last   int    `json:"last"`  // and the one behind them
}

// shares divides the connections among n workers.
func (c Config) shares(n int) []share {
	var id [4]byte
	_, _ = rand.Read(id[:]) // it never fails
	all := make([]share, n)
	for i := range all {
		all[i] = share{Config: c, Run: hex.EncodeToString(id[:]), First: i * c.Connections / n, Last: (i + 1) * c.Connections / n}
	}
	return all
}

// rate is the share's part of the rate.
func (s share) rate() float64 {
	all := s.Config.senders(0, s.Config.Connections)
	if all == 0 {
		return 0
	}
	return s.Config.Rate * float64(s.Config.senders(s.First, s.Last)) / float64(all)
}

// ramp is the share's part of the ramp.
func (s share) ramp() float64 {
	return s.Config.Ramp * float64(s.Last-s.First) / float64(s.Config.Connections)
}
