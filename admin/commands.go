package admin

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// What is wrong with a command.
var (
	errArguments = errors.New("admin: wrong arguments")
	errNamespace = errors.New("admin: no such namespace")
	errReserved  = errors.New("admin: reserved event name")
	errSelf      = errors.New("admin: no events for pages")
)

// Bounds on the arguments of commands.
const (
	maxRoom        = 512 // bytes
	commandTimeout = 10 * time.Second
)

// command is an order of a page.
type command struct {
	namespace string
	filter    string // a room or a socket; "" for the whole namespace
	room      string
	event     string
	args      []any
	close     bool
}

// commands are the orders by their events.
//
// Node: @socket.io/admin-ui registerFeatureHandlers
var commands = map[string]struct {
	parse func(args []parser.Arg) (command, error)
	run   func(ctx context.Context, to sockeye.Broadcast, c *command) error
}{
	"emit": {parseEmit, func(ctx context.Context, to sockeye.Broadcast, c *command) error {
		return to.EmitContext(ctx, c.event, c.args...)
	}},
	"join": {parseRoom, func(ctx context.Context, to sockeye.Broadcast, c *command) error {
		return to.Join(ctx, c.room)
	}},
	"leave": {parseRoom, func(ctx context.Context, to sockeye.Broadcast, c *command) error {
		return to.Leave(ctx, c.room)
	}},
	"_disconnect": {parseDisconnect, func(ctx context.Context, to sockeye.Broadcast, c *command) error {
		return to.Disconnect(ctx, c.close)
	}},
}

// obey listens to the orders of pages.
func (a *Admin) obey() {
	for name := range commands {
		a.nsp.On(name, sockeye.HandlerFunc(a.command))
	}
}

// command runs an order. What is wrong with it is logged, and told where the page asks for an acknowledgement, as
// official ones do not.
func (a *Admin) command(ctx context.Context, m *sockeye.Message) error {
	c, err := a.run(ctx, m)
	s := sockeye.SocketFrom(ctx)
	attrs := []slog.Attr{
		slog.String("command", m.Event), slog.String("user", a.userOf(s)), slog.String("address", s.Handshake().Address),
		slog.String("nsp", c.namespace), slog.String("filter", c.filter),
	}
	switch m.Event {
	case "emit":
		attrs = append(attrs, slog.String("event", c.event))
	case "join", "leave":
		attrs = append(attrs, slog.String("room", c.room))
	default:
		attrs = append(attrs, slog.Bool("close", c.close))
	}
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "admin command refused", append(attrs, slog.Any("error", err))...)
		return m.Ack(answer{Error: err.Error()})
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "admin command", attrs...)
	return m.Ack(answer{OK: true})
}

type answer struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (a *Admin) run(ctx context.Context, m *sockeye.Message) (command, error) {
	kind := commands[m.Event]
	c, err := kind.parse(m.Args())
	if err != nil {
		return c, err
	}
	nsp := a.namespace(c.namespace)
	switch {
	case nsp == nil:
		return c, errNamespace
	case nsp == a.nsp && m.Event == "emit":
		return c, errSelf // it could speak for the server
	}
	to := nsp.All()
	if c.filter != "" {
		to = nsp.To(c.filter)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	return c, kind.run(ctx, to, &c)
}

// namespace finds one that is open.
//
// Differs from Node: there it is made, whatever its name
func (a *Admin) namespace(name string) *sockeye.Namespace {
	for n := range a.io.Namespaces() {
		if n.Name() == name {
			return n
		}
	}
	return nil
}

func parseEmit(args []parser.Arg) (c command, err error) {
	if len(args) < 3 {
		return c, errArguments
	}
	if c, err = parseTarget(args[0], args[1]); err != nil {
		return c, err
	}
	var ok bool
	if c.event, ok = text(args[2], maxName); !ok || c.event == "" {
		return c, errArguments
	}
	if parser.Reserved(c.event) {
		return c, errReserved
	}
	for _, arg := range args[3:] {
		c.args = append(c.args, arg)
	}
	return c, nil
}

func parseRoom(args []parser.Arg) (c command, err error) {
	if len(args) < 2 || len(args) > 3 {
		return c, errArguments
	}
	if c, err = parseTarget(args[0], optional(args, 2)); err != nil {
		return c, err
	}
	var ok bool
	if c.room, ok = text(args[1], maxRoom); !ok || c.room == "" {
		return c, errArguments
	}
	return c, nil
}

func parseDisconnect(args []parser.Arg) (c command, err error) {
	if len(args) < 2 || len(args) > 3 {
		return c, errArguments
	}
	if c, err = parseTarget(args[0], optional(args, 2)); err != nil {
		return c, err
	}
	v, err := args[1].Any()
	if err != nil {
		return c, errArguments
	}
	var ok bool
	if c.close, ok = v.(bool); !ok {
		return c, errArguments
	}
	return c, nil
}

func optional(args []parser.Arg, i int) parser.Arg {
	if i < len(args) {
		return args[i]
	}
	return parser.Arg{}
}

func parseTarget(nsp, filter parser.Arg) (c command, err error) {
	var ok bool
	if c.namespace, ok = text(nsp, maxName); !ok || c.namespace == "" {
		return command{}, errArguments
	}
	if none(filter) {
		return c, nil
	}
	if c.filter, ok = text(filter, maxRoom); !ok {
		return command{}, errArguments
	}
	return c, nil
}

func none(a parser.Arg) bool {
	if a.IsZero() {
		return true
	}
	v, err := a.Any()
	return err == nil && v == nil
}

// text gives an argument that is a string of so many bytes at most.
func text(a parser.Arg, most int) (string, bool) {
	v, err := a.Any()
	if err != nil {
		return "", false
	}
	s, ok := v.(string)
	return s, ok && len(s) <= most
}
