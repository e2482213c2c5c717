package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/internal/load"
	"github.com/sockeye-io/sockeye/parser"
)

// benchOptions are the flags of "bench".
type benchOptions struct {
	dial             dialFlags
	namespace        string
	echo, fanout     bool
	json, quiet, yes bool
	rate, rateEach   float64
	procs            int
	load             load.Config
	limits           string // what this machine allows
}

const benchHelp = `Open connections to a Socket.IO server, put load on them, and measure what the server makes of it.

By default the connections are opened and held: that works with every server. With --echo each connection sends an event
and asks for an acknowledgement; measured is the round trip. The server must acknowledge the event, with whatever:

  socket.on("echo", (text, ack) => ack(text))

With --fanout one connection publishes and all others get it; measured is the way from one to the other, by a time
in the text. The server must send the event on, to the others or to all, in whatever form:

  socket.on("message", (text) => socket.broadcast.emit("message", text))

With --fanout --rooms N the connections are spread over N rooms and one of each publishes to its room. The server must
have connections join a room, and acknowledge that, and must send on what is published:

  socket.on("join", (room, ack) => { socket.join(room); ack({ ok: true }); })
  socket.on("publish", ({ room, event, data }) => socket.to(room).emit(event, data))

"sockeye serve" does all that, within its limits: 1,000 new clients and from each 1,000 messages a second. --event,
--join-event and --publish-event are for servers with other names. An acknowledgement {"ok":false} is a refusal.

With --rate or --rate-each latency counts from when an event was due, not from when it could be sent, so that a server
that stalls is charged with all that was due meanwhile ("coordinated omission"). Without them each connection with --echo
has --in-flight events under way, and sends when one is acknowledged: that shows what the server can do, not how long
users wait. --fanout has a rate always, by default one event a second in each room.

It raises the limit of open files as far as it may, takes several processes where that is not enough, and several
addresses of 127.0.0.0/8 where the ports of one are not enough for a server on this machine. A server on another machine
needs --yes: load on servers of others is an attack.

Ctrl-C ends early, with the figures so far. The exit code is 1 if the load was not what was asked for (a connection
failed or was lost, an answer is missing, an event was refused or could not be sent), 130 after Ctrl-C, 2 for wrong
arguments.

With --json the result is one object: "url", "scenario" (connect, echo or fanout), "transport", "engine_io" (4 or 3),
"namespace", "rooms", "payload_bytes", "rate", "interrupted", and
  connections  "asked" "opened" "failed" "untried" "lost" "seconds" "per_second" "latency_ms"; failed and lost are
               objects of counts by reason
  events       "seconds" "sent" "sent_per_second" "acknowledged" "received" "got_per_second" "missing" "unsent"
               "refused" (counts by reason) "stray" (received in a room that they were not for)
  latency_ms   "count" "min" "mean" "p50" "p90" "p99" "p99_9" "max"; also that of connections
  generator    "processes" "cpu_seconds" "cpus" "cpu_share" "machine_busy" "peak_bytes": what this program took itself;
               shares are of 1
  warnings     texts: what makes the figures doubtful
  errors       texts: why the exit code is 1`

func benchCommand(in invocation) *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench [flags] URL",
		Short: "Put load on a Socket.IO server and measure it",
		Long:  benchHelp,
		Example: `  sockeye bench --connections 10000 --ramp 900 http://127.0.0.1:3000
  sockeye bench --echo --connections 1000 --rate 5000 --duration 30s http://127.0.0.1:3000
  sockeye bench --fanout --rooms 10 --connections 1000 --rate-each 5 --json http://127.0.0.1:3000
  sockeye bench --echo --event ping --transport upgrade --yes https://staging.example.com/chat`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.read(c, args[0]); err != nil {
				return err
			}
			if err := o.aim(c.Context()); err != nil {
				return err
			}
			return o.run(c.Context(), in)
		},
	}
	o.flags(c)
	return c
}

func (o *benchOptions) flags(c *cobra.Command) {
	f, l := c.Flags(), &o.load
	f.BoolVar(&o.echo, "echo", false, "events that are acknowledged: measure the round trip")
	f.BoolVar(&o.fanout, "fanout", false, "events of one to all others: measure the way")
	f.IntVarP(&l.Connections, "connections", "c", 100, "how many connections")
	f.Float64Var(&l.Ramp, "ramp", 500, "connections to open per second at most")
	f.IntVar(&l.Rooms, "rooms", 0, "rooms to spread the connections over (default: none)")
	f.Float64Var(&o.rate, "rate", 0, "events per second, of all connections together")
	f.Float64Var(&o.rateEach, "rate-each", 0, "events per second, of each connection that sends")
	f.IntVar(&l.InFlight, "in-flight", 1, "events under way of each connection, without a rate")
	f.IntVar(&l.Payload, "payload", 64, "bytes of the text in an event")
	f.DurationVarP(&l.Duration, "duration", "d", 10*time.Second, "how long to send, or to hold the connections")
	f.DurationVar(&l.Timeout, "timeout", 20*time.Second, "how long a connection may take to open")
	f.IntVar(&o.procs, "procs", 0, "processes to share the load (default: as many as the limit of open files needs)")
	f.StringVarP(&l.Event, "event", "e", "", `event to send (default: "echo" with --echo, "message" with --fanout)`)
	f.StringVar(&l.Join, "join-event", "join", "event to join a room with")
	f.StringVar(&l.Publish, "publish-event", "publish", "event to publish to a room with")
	f.StringVarP(&o.namespace, "namespace", "n", "/", "namespace, in place of the path of the URL")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "say nothing while it runs")
	f.BoolVarP(&o.yes, "yes", "y", false, "allow a server that is not on this machine")
	o.dial.register(c)
	c.Flag("transport").Usage = "websocket, polling, or upgrade: from polling to websocket (default: websocket)"
}

// read makes the load of the flags.
func (o *benchOptions) read(c *cobra.Command, rawURL string) error {
	l := &o.load
	transport, err := o.transport()
	if err != nil {
		return err
	}
	s, err := o.dial.find(rawURL, c.Flag("namespace"), l.Timeout)
	if err != nil {
		return err
	}
	u, err := url.Parse(s.url)
	if err != nil {
		return usagef("the URL cannot be read")
	}
	u.Path, u.RawPath = "/", ""
	if len(s.config.Query) > 0 {
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+s.config.Query.Encode(), "&")
	}
	l.URL, l.Path, l.Namespace, l.Header, l.Transport = u.String(), s.config.Path, s.namespace, s.config.Header, transport
	l.Insecure, l.CA, l.Msgpack, l.EIO = o.dial.insecure, o.dial.ca, s.config.Parser != nil, 4
	if s.config.EIO3 {
		l.EIO = 3
	}
	if a, ok := s.config.Auth.(parser.Arg); ok {
		if l.Auth, err = a.AppendJSON(nil); err != nil {
			return usagef("--auth: %w", err)
		}
	}
	return o.readScenario(c)
}

// transport gives the one of the flags, which may also be given as to "connect".
func (o *benchOptions) transport() (string, error) {
	switch given := strings.Join(o.dial.transports, ","); given {
	case "", load.WebSocket:
		return load.WebSocket, nil
	case load.Polling:
		return load.Polling, nil
	case load.Upgrade, "polling,websocket":
		o.dial.transports = nil
		return load.Upgrade, nil
	default:
		return "", usagef("--transport: %q is none of websocket, polling, upgrade", given)
	}
}

func (o *benchOptions) readScenario(c *cobra.Command) error {
	l := &o.load
	event := l.Event
	switch {
	case o.echo && o.fanout:
		return usagef("--echo and --fanout exclude each other")
	case o.echo:
		l.Scenario, l.Event = load.Echo, "echo"
	case o.fanout:
		l.Scenario, l.Event = load.Fanout, "message"
	default:
		l.Scenario, l.Event = load.Idle, "message"
		for _, name := range []string{"rate", "rate-each", "rooms", "in-flight", "payload", "event"} {
			if c.Flag(name).Changed {
				return usagef("--%s needs --echo or --fanout", name)
			}
		}
	}
	if event != "" {
		l.Event = event
	}
	if o.rate < 0 || o.rateEach < 0 || o.rate > 0 && o.rateEach > 0 {
		return usagef("--rate and --rate-each must be above 0, and exclude each other")
	}
	if o.fanout && o.rate == 0 && o.rateEach == 0 {
		o.rateEach = 1
	}
	l.Rate = o.rate
	switch {
	case o.rateEach > 0 && o.fanout:
		l.Rate = o.rateEach * float64(max(l.Rooms, 1))
	case o.rateEach > 0:
		l.Rate = o.rateEach * float64(l.Connections)
	}
	if l.Rate > 0 && c.Flag("in-flight").Changed {
		return usagef("--in-flight is for a load without a rate")
	}
	if o.procs < 0 || o.procs > l.Connections || o.procs > maxProcs {
		return usagef("--procs must be between 1 and %d, and not above the number of connections", maxProcs)
	}
	if err := l.Validate(); err != nil {
		return usageError{errors.New(strings.ReplaceAll(strings.ReplaceAll(err.Error(), "load: ", ""), "\n", "; "))}
	}
	return nil
}

// maxProcs bounds how many processes share the load.
const maxProcs = 256

// run puts the load on and tells the result.
func (o *benchOptions) run(ctx context.Context, in invocation) error {
	if !o.quiet {
		fmt.Fprintln(in.stderr, o.limits)
	}
	show := o.watch(in)
	options := load.Options{Workers: o.procs, Progress: show.progress}
	if o.procs > 1 {
		options.Spawn = in.spawn
	}
	r, err := load.Run(ctx, o.load, options)
	show.end()
	if err != nil {
		return err
	}
	if o.json {
		b, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(in.stdout, "%s\n", b)
		}
		if err != nil {
			return err
		}
	} else if err := printResult(in.stdout, r); err != nil {
		return err
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(in.stderr, "warning: %s\n", w)
	}
	for _, e := range r.Errors {
		fmt.Fprintf(in.stderr, "sockeye: %s\n", e)
	}
	switch {
	case r.Interrupted:
		return exitCode(exitInterrupted)
	case !r.OK():
		return exitCode(exitError)
	}
	return nil
}
