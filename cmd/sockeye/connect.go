package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/parser"
)

// exitInterrupted is that of shells for a command that a signal has ended.
const exitInterrupted = 130

// exitCode is an error that has been told of already, as an exit code.
type exitCode int //nolint:errname // it is a code, and an error by the way

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// connectOptions are the flags of "connect".
type connectOptions struct {
	dial                              dialFlags
	namespace, event, reply           string
	listen, ack, json, text           bool
	quiet, all, noReconnect, noRecord bool
	timeout, ackTimeout, wait         time.Duration

	narrow  bool  // only event is shown
	replies bool  // answer by yourself
	answer  []any // with that
}

func connectCommand(in invocation) *cobra.Command {
	var o connectOptions
	c := &cobra.Command{
		Use:   "connect [flags] URL",
		Short: "Talk to a Socket.IO server by lines",
		Long: `Connect to a Socket.IO server: what you type is sent, what arrives is printed. The path of the URL is the namespace.

A line is sent as the event "message", or as that of --event. A line of JSON values with blanks between them is these
arguments, any other line is one text; blank lines are not sent. ` + connectHelp,
		Example: `  sockeye connect http://127.0.0.1:3000
  sockeye connect -n /chat -e "chat message" --auth '{"token":"abc"}' http://127.0.0.1:3000
  echo '{"title":"Hello"} 42' | sockeye connect -e news --ack https://example.com
  sockeye connect --listen --json ws://127.0.0.1:3000 | jq .args`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.narrow = c.Flag("event").Changed && !o.all
			o.replies = c.Flag("reply").Changed
			if err := o.check(); err != nil {
				return err
			}
			s, err := o.dial.find(args[0], c.Flag("namespace"), o.timeout)
			if err != nil {
				return err
			}
			s.config.Reconnect.Disabled = o.noReconnect
			return o.talk(c.Context(), in, s)
		},
	}
	o.flags(c)
	return c
}

const connectHelp = `Lines that start with a slash
are for this program (with --text they are sent, and nothing is taken for JSON):

` + lineHelp + `

Printed are all events by their names, or with --event that event alone, without its name (--all prints all). Arguments
look as they would be typed, and bytes like <3 bytes 0a0b0c>. An event that the server wants an acknowledgement for has
a number for /reply; --reply answers by itself. Everything else is said on standard error.

At the end of input it ends when everything is sent and, with --ack, acknowledged, or --ack-timeout is over. A connection
that is lost is made again, and what is typed in the meantime is kept.

On a terminal the line can be edited, the arrow keys bring back former lines, Ctrl-R searches them by what is typed,
Ctrl-C clears the line or, on an empty one, ends, and Ctrl-D ends. Former lines are kept in
$XDG_STATE_HOME/sockeye/history (~/.local/state where that is not set), but for those that start with a blank; not with
--no-history. With NO_COLOR set there are no colors.

With --json each line of the output is an object. Its "type" is one of
  connect       "id" "namespace" "recovered"      also when the connection is made again
  event         "event" "args", and "reply", a number for /reply, where the server wants an acknowledgement
  ack           "sent" (the number, from 1, of the event that was sent), "event", and "args" or "error"
  disconnect    "reason"
  reconnecting  "attempt"
Bytes are {"base64":"..."}.

Exit codes: 0 at the end of input or by /quit, when all was sent and acknowledged; 1 when the server cannot be reached,
refuses, or ends the connection, when the connection is lost with --no-reconnect, or something was not sent or not
acknowledged; 2 for wrong arguments; 130 when interrupted.`

func (o *connectOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.event, "event", "e", "message", "event to send; where it is given no other is printed")
	f.StringVarP(&o.namespace, "namespace", "n", "/", "namespace, in place of the path of the URL")
	f.BoolVarP(&o.listen, "listen", "l", false, "print only, and read no input")
	f.BoolVar(&o.all, "all", false, "print all events, also with --event")
	f.BoolVar(&o.ack, "ack", false, "ask for an acknowledgement of what is sent, and print it")
	f.StringVar(&o.reply, "reply", "", "acknowledge events of the server with these arguments, as on a line")
	f.BoolVar(&o.json, "json", false, "print one JSON object a line")
	f.BoolVar(&o.text, "text", false, "send each line as one text, as it is")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "say nothing about the connection")
	f.BoolVar(&o.noReconnect, "no-reconnect", false, "end when the connection is lost")
	f.BoolVar(&o.noRecord, "no-history", false, "keep no history of lines")
	f.DurationVar(&o.timeout, "timeout", 20*time.Second, "how long to wait for the first connect")
	f.DurationVar(&o.ackTimeout, "ack-timeout", 20*time.Second, "how long to wait for an acknowledgement")
	f.DurationVar(&o.wait, "wait", 0, "how long to go on printing after the end of input")
	o.dial.register(c)
}

func (o *connectOptions) check() error {
	switch {
	case parser.Reserved(o.event):
		return usagef("--event: %s is an event that only the protocol may send", quoted(o.event))
	case o.ackTimeout <= 0:
		return usagef("--ack-timeout must be more than 0")
	case o.wait < 0:
		return usagef("--wait must not be less than 0")
	case o.listen && (o.ack || o.text):
		return usagef("--listen sends nothing: it cannot be with --ack or --text")
	case o.replies:
		o.answer = withArguments(typed{}, o.reply).args
	}
	return nil
}

// terminal gives the terminal by which somebody talks, nil where input or output is something else.
func (in invocation) terminal() (stdin, stdout *os.File) {
	stdin, ok := in.stdin.(*os.File)
	if !ok || !term.IsTerminal(stdin.Fd()) || in.env("TERM") == "dumb" {
		return nil, nil
	}
	if stdout = asTerminal(in.stdout); stdout == nil {
		return nil, nil
	}
	return stdin, stdout
}

func asTerminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(f.Fd()) {
		return f
	}
	return nil
}

// colors tells whether a terminal is to get some.
func (in invocation) colors(w io.Writer) painter {
	return asTerminal(w) != nil && in.env("NO_COLOR") == "" && in.env("TERM") != "dumb"
}

// talk connects, and ends when the talk does.
func (o *connectOptions) talk(ctx context.Context, in invocation, s destination) error {
	t := newTalk(ctx, o, in, s)
	defer t.end(nil)
	lines := t.open() // before there is anything to print, so that it is printed in one way
	s.config.Setup, s.config.OnError = t.setUp, t.fault
	dialing, cancel := context.WithTimeout(t.life, o.timeout)
	socket, err := client.Dial(dialing, s.url, s.config)
	cancel()
	if err == nil {
		t.socket = socket
		t.run(lines)
	}
	lines.close()
	switch why := context.Cause(t.life); {
	case ctx.Err() != nil, errors.Is(why, errInterrupted):
		return exitCode(exitInterrupted)
	case err != nil:
		return s.explain(err)
	case !errors.Is(why, errFinished):
		return why
	case t.failed.Load():
		return exitCode(exitError)
	}
	return nil
}

// open begins to read lines.
func (t *talk) open() source {
	if t.o.listen {
		return nothing{}
	}
	if stdin, stdout := t.in.terminal(); stdin != nil {
		past := openHistory(t.in.env, t.o.noRecord)
		e := newEditor(stdin, stdout, past, t.screen.colors, func() { t.end(errInterrupted) })
		t.screen.ui.Store(e)
		e.start()
		return e
	}
	return startReader(t.in.stdin)
}
