package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The kinds of messages.
const (
	kindEIO      = "eio"
	kindSIO      = "sio"
	kindPolling  = "polling"
	kindClassic  = "classic"
	kindRequest  = "request"
	kindResponse = "response"
	kindSharded  = "sharded"
	kindStream   = "stream"
	kindControl  = "control"
)

// kindNames says what the kinds are.
var kindNames = map[string]string{
	kindEIO:      "Engine.IO packet, as in a WebSocket message",
	kindSIO:      "Socket.IO packet",
	kindPolling:  "Engine.IO payload, as in the body of a polling request",
	kindClassic:  "broadcast of the classic Redis adapter",
	kindRequest:  "request of the classic Redis adapter",
	kindResponse: "response of the classic Redis adapter",
	kindSharded:  "message of the sharded Redis adapter, or of that of streams",
	kindStream:   "entry of a Redis stream",
	kindControl:  "message among servers of Sockeye alone",
}

func kinds() []string {
	return []string{kindEIO, kindSIO, kindPolling, kindClassic, kindRequest, kindResponse, kindSharded, kindStream, kindControl}
}

// maxInput bounds what is read.
const maxInput = 16 << 20

// decodeOptions are the flags of "decode".
type decodeOptions struct {
	kind             string
	protocol         int
	hex, base64, raw bool
}

func decodeCommand(in invocation) *cobra.Command {
	var o decodeOptions
	c := &cobra.Command{
		Use:   "decode [FILE]",
		Short: "Say in words what a message on the wire means",
		Long: `Read messages from a file or the standard input, one a line, and say in words what each part means, with its place in the
message in bytes. A line is a text, or with --hex or --base64 bytes in that form; with --raw all of the input is one
message. Lines may also be as redis-cli writes them, texts in quotes, and such as MONITOR gives: of PUBLISH and SPUBLISH
the message is taken, of XADD the entry.

The kind is guessed, and said; --kind is for where that goes wrong: eio, sio, polling, classic, request, response, sharded
(which are also the requests of the adapter of streams), stream, or control for what servers of Sockeye say to each other.
An entry of a stream can also be a JSON object with the fields uid, nsp, type and data.

Of what is malformed it tells what could be understood, and then what is wrong at which place; the exit code is 1.`,
		Example: `  echo '42/chat,7["hello",1]' | sockeye decode
  redis-cli MONITOR | head -n 20 | sockeye decode`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			input, err := readInput(in, args)
			if err != nil {
				return err
			}
			return o.decode(in.stdout, input)
		},
	}
	f := c.Flags()
	f.StringVar(&o.kind, "kind", "", "kind of the messages (default: a guess for each)")
	f.IntVar(&o.protocol, "protocol", 4, "Engine.IO protocol: 4, or 3 for clients of 2.x")
	f.BoolVar(&o.hex, "hex", false, "lines are hexadecimal")
	f.BoolVar(&o.base64, "base64", false, "lines are base64")
	f.BoolVar(&o.raw, "raw", false, "the input as a whole is one message")
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return c
}

func (o *decodeOptions) check() error {
	switch {
	case o.kind != "" && !slices.Contains(kinds(), o.kind):
		return usagef("--kind: %q is none of %s", o.kind, strings.Join(kinds(), ", "))
	case o.protocol != 3 && o.protocol != 4:
		return usagef("--protocol: %d is neither 3 nor 4", o.protocol)
	case o.hex && o.base64 || o.raw && (o.hex || o.base64):
		return usagef("--hex, --base64 and --raw exclude each other")
	}
	return nil
}

func readInput(in invocation, args []string) ([]byte, error) {
	r := in.stdin
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read: %w", err)
	}
	if len(b) > maxInput {
		return nil, fmt.Errorf("the input has more than %d bytes", maxInput)
	}
	return b, nil
}

var errMalformed = errors.New("not everything could be understood")

// decode writes what the messages of an input mean.
func (o *decodeOptions) decode(w io.Writer, input []byte) error {
	var out bytes.Buffer
	d := decoder{out: &out, protocol: o.protocol}
	if o.raw {
		d.message(input, o.kind)
	} else {
		for line := range bytes.Lines(input) {
			line = bytes.TrimRight(line, "\r\n")
			if len(line) > 0 && string(line) != "OK" { // which MONITOR begins with
				o.line(&d, line)
			}
		}
	}
	if d.messages == 0 && out.Len() == 0 {
		return errors.New("there is no message in the input")
	}
	if d.pending > 0 {
		fmt.Fprintf(&out, "the input ends; attachments that are missing: %d\n", d.pending)
		d.bad = true
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return err
	}
	if d.bad {
		return errMalformed
	}
	return nil
}

// line takes a line of the input.
func (o *decodeOptions) line(d *decoder, line []byte) {
	var err error
	switch {
	case o.hex:
		line, err = hex.DecodeString(string(bytes.ReplaceAll(bytes.TrimSpace(line), []byte(" "), nil)))
	case o.base64:
		line, err = base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
	default:
		if words, ok := redisWords(line); ok {
			d.redis(words, o.kind)
			return
		}
	}
	if err != nil {
		d.begin("no message", len(line), "")
		d.wrong(0, "the line cannot be read: %v", err)
		d.flush()
		return
	}
	d.message(line, o.kind)
}

// redis takes the words of a line as redis-cli writes it.
func (d *decoder) redis(words [][]byte, kind string) {
	verb := strings.ToUpper(string(words[0]))
	switch {
	case len(words) == 3 && (verb == "PUBLISH" || verb == "SPUBLISH"):
		fmt.Fprintf(d.out, "%s to channel %s\n", verb, quoted(string(words[1])))
		d.message(words[2], kind)
	case len(words) > 3 && verb == "XADD":
		fmt.Fprintf(d.out, "XADD to stream %s, whose places are the numbers of fields\n", quoted(string(words[1])))
		d.begin(kindStream, 0, "")
		d.fields(entryFields(words[2:]))
		d.flush()
	case len(words) == 1 && (kind != "" || guess(words[0], d.pending > 0) != ""):
		d.message(words[0], kind)
	default:
		fmt.Fprintf(d.out, "%s of Redis is no message\n", cut(quoted(string(words[0])), valueSize))
	}
}

// entryFields gives the fields of an entry, which follow options and the id.
func entryFields(words [][]byte) [][]byte {
	for i := 0; i < len(words); i++ {
		switch strings.ToUpper(string(words[i])) {
		case "NOMKSTREAM", "KEEPREF", "DELREF", "ACKED":
		case "MAXLEN", "MINID":
			i++
			if i < len(words) && (string(words[i]) == "~" || string(words[i]) == "=") {
				i++
			}
		case "LIMIT":
			i++
		default:
			return words[i+1:]
		}
	}
	return nil
}

// redisWords reads a line of texts in quotes, as redis-cli writes it; ok is false where it is another.
func redisWords(line []byte) (words [][]byte, ok bool) {
	s := string(line)
	i := strings.IndexByte(s, '"')
	if i < 0 || i > 0 && !redisPrefix.MatchString(s[:i]) {
		return nil, false
	}
	s = s[i:]
	for s != "" {
		word, rest, ok := redisWord(s)
		if !ok {
			return nil, false
		}
		words = append(words, word)
		if s = strings.TrimLeft(rest, " "); s != "" && s == rest {
			return nil, false
		}
	}
	return words, len(words) > 0
}

// redisPrefix is what stands before the texts of MONITOR, and before elements of lists.
var redisPrefix = regexp.MustCompile(`^([0-9]+\.[0-9]+ \[[^\]]*\] |( *[0-9]+\) )+)$`)

// redisWord reads one text in quotes.
func redisWord(s string) (word []byte, rest string, ok bool) {
	if s[0] != '"' {
		return nil, s, false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return word, s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return nil, s, false
			}
			if s[i] == 'x' && i+2 < len(s) {
				b, err := hex.DecodeString(s[i+1 : i+3])
				if err != nil {
					return nil, s, false
				}
				word = append(word, b...)
				i += 2
				continue
			}
			if at := strings.IndexByte("nrtab", s[i]); at >= 0 {
				word = append(word, "\n\r\t\a\b"[at])
				continue
			}
			word = append(word, s[i])
		default:
			word = append(word, c)
		}
	}
	return nil, s, false
}
