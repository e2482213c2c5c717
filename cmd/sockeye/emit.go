package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/parser"
)

func emitCommand(in invocation) *cobra.Command {
	var o target
	var d dialFlags
	var url string
	var volatile, ack, text bool
	c := &cobra.Command{
		Use:   "emit [flags] EVENT [JSON...]",
		Short: "Send an event to clients of a running cluster, or to a server",
		Long: `Send an event to the clients of a running cluster, and return when Redis has accepted it. Or, with --url, connect to a
server as a client does, send it an event, and return when that is sent. Flags go before the event.

Each argument is JSON. One that is not is sent as text, unless it could be JSON that is mistyped: what begins with one of
{ } [ ] " ' + - . , : or a digit must be JSON, and so must every spelling of true, false, null, undefined, NaN and
Infinity. With --text all arguments are sent as text, as they are.

With --ack it waits for the clients, or the server, to acknowledge, and prints each acknowledgement as a line: a JSON
array of its arguments, of clients at Node servers of the first one alone. Bytes are shown as {"base64":"..."}. The exit
code is 1 if not all have acknowledged.

With --url the flags --path, --auth, --protocol, --parser, --ca, --header, --query, --transport and --insecure are as
those of "sockeye connect", and those of Redis and of rooms have no place.` + targetHelp,
		Example: `  sockeye emit --redis redis://127.0.0.1:6379 --room lobby news '{"title":"Hello"}' 42
  sockeye emit --redis redis://127.0.0.1:6379 --ack --timeout 2s ping
  sockeye emit --url http://127.0.0.1:3000 --auth '{"token":"abc"}' --ack "chat message" hello`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if parser.Reserved(args[0]) {
				return usagef("%q is an event that only the protocol may send", args[0])
			}
			values, err := arguments(args[1:], text)
			if err != nil {
				return err
			}
			if err := oneWay(c, &o); err != nil {
				return err
			}
			if c.Flag("url").Changed {
				server, err := d.find(url, c.Flag("namespace"), o.timeout)
				if err != nil {
					return err
				}
				return emission{args[0], values, ack, volatile}.send(c.Context(), in, server)
			}
			return o.speak(c.Context(), in, func(ctx context.Context, b emitter.Broadcast) error {
				if volatile {
					b = b.Volatile()
				}
				if !ack {
					return b.EmitContext(ctx, args[0], values...)
				}
				replies, err := b.EmitWithAck(ctx, args[0], values...)
				return errors.Join(err, printReplies(in, replies))
			})
		},
	}
	o.flags(c)
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVar(&volatile, "volatile", false, "drop it for clients that cannot take it at once")
	f.BoolVar(&ack, "ack", false, "wait for the acknowledgements and print them")
	f.BoolVar(&text, "text", false, "send all arguments as text")
	f.StringVar(&url, "url", "", "URL of a server to connect to, with a namespace as its path if there is one")
	d.register(c)
	return c
}

// arguments gives what is sent for the arguments after the event.
func arguments(args []string, text bool) ([]any, error) {
	values := make([]any, len(args))
	for i, a := range args {
		switch {
		case !utf8.ValidString(a):
			return nil, usagef("argument %d is not UTF-8", i+1)
		case !text && json.Valid([]byte(a)):
			values[i] = parser.RawJSON([]byte(a))
		case !text && likeJSON(a):
			return nil, usagef("argument %d is not JSON: %s%s", i+1, whyNot(a), remedy(a))
		default:
			values[i] = a
		}
	}
	return values, nil
}

// likeJSON tells whether a text could be JSON that is mistyped.
func likeJSON(s string) bool {
	s = strings.TrimSpace(s)
	if s == "" {
		return false
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "undefined", "nan", "infinity":
		return true
	}
	return strings.IndexByte(`{}[]"'+-.,:0123456789`, s[0]) >= 0
}

func whyNot(s string) string {
	var v json.RawMessage
	err := json.Unmarshal([]byte(s), &v)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%v, at byte %d", err, e.Offset)
	}
	return fmt.Sprint(err)
}

func remedy(s string) string {
	if strings.HasPrefix(s, "--") {
		return "; flags go before the event"
	}
	return "; --text sends it as text"
}

func printReplies(in invocation, replies emitter.Replies) error {
	var out bytes.Buffer
	for _, r := range replies {
		list := make([]any, len(r.Args()))
		for i, a := range r.Args() {
			list[i] = shown(a)
		}
		writeJSON(&out, list)
	}
	_, err := in.stdout.Write(out.Bytes())
	return err
}

// shown gives an argument as it is put into JSON that is printed.
func shown(a parser.Arg) any {
	if a.IsZero() {
		return nil
	}
	if !a.HasBinary() {
		if b, err := a.AppendJSON(nil); err == nil {
			return json.RawMessage(b) // numbers as they were written
		}
	}
	v, err := a.Any()
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return withBytes(v)
}

// withBytes replaces the bytes in a value that Arg.Any gave.
func withBytes(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string][]byte{"base64": v}
	case []any:
		for i := range v {
			v[i] = withBytes(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withBytes(v[k])
		}
	}
	return v
}

// writeJSON writes v as a line of JSON that does no harm to a terminal.
func writeJSON(out *bytes.Buffer, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		b.Reset()
		_ = e.Encode(map[string]string{"error": err.Error()}) // a map of strings can always be encoded
	}
	out.WriteString(harmless(strings.TrimSuffix(b.String(), "\n")))
	out.WriteByte('\n')
}

// harmless escapes, as JSON does in strings, what a terminal would not show but act on.
func harmless(s string) string {
	if !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !harmful(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func harmful(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }
