package rediswire

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/jsonscan"
	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

// writer appends a message, as JSON like JSON.stringify or as MessagePack like notepack. Sizes of objects and arrays are
// told at their beginning, which MessagePack needs.
type writer struct {
	b    []byte
	json bool

	// dates makes timestamps of dates, in MessagePack: all peers that may read the message understand them. Without,
	// dates become strings.
	dates bool

	// text makes the JSON of a Buffer of binary. Without, an argument with binary is an error, and binary is set.
	text   bool
	binary bool
}

// textWriter writes the JSON of the classic adapter.
func textWriter(dst []byte) writer { return writer{b: dst, json: true, text: true} }

func (w *writer) object(fields int) {
	if w.json {
		w.b = append(w.b, '{')
	} else {
		w.b = msgp.AppendMapHeader(w.b, uint32(fields))
	}
}

func (w *writer) endObject() {
	if w.json {
		w.b = append(w.b, '}')
	}
}

func (w *writer) array(elements int) {
	if w.json {
		w.b = append(w.b, '[')
	} else {
		w.b = msgp.AppendArrayHeader(w.b, uint32(elements))
	}
}

func (w *writer) endArray() {
	if w.json {
		w.b = append(w.b, ']')
	}
}

// item begins an element of an array.
func (w *writer) item() {
	if w.json && w.b[len(w.b)-1] != '[' {
		w.b = append(w.b, ',')
	}
}

// key begins a field of an object. The key needs no quoting, and is shorter than 32 bytes.
func (w *writer) key(key string) {
	if w.json {
		w.b = appendKey(w.b, key)
	} else {
		w.b = append(append(w.b, 0xa0|byte(len(key))), key...)
	}
}

// name begins a field of an object whose key may be anything.
func (w *writer) name(key string) {
	if w.json {
		w.b = appendNameKey(w.b, key)
	} else {
		w.str(key)
	}
}

// str writes a string; what is not UTF-8 is replaced.
func (w *writer) str(s string) {
	switch {
	case w.json:
		w.b = js.AppendString(w.b, s)
	case utf8.ValidString(s):
		w.b = msgp.AppendString(w.b, s)
	default:
		w.b = msgp.AppendString(w.b, string([]rune(s)))
	}
}

func (w *writer) strs(list []string) {
	w.array(len(list))
	for _, s := range list {
		w.item()
		w.str(s)
	}
	w.endArray()
}

func (w *writer) integer(n int64) {
	switch {
	case w.json:
		w.b = strconv.AppendInt(w.b, n, 10)
	case n >= 0:
		w.b = msgp.AppendUint64(w.b, uint64(n))
	default:
		w.b = msgp.AppendInt64(w.b, n)
	}
}

func (w *writer) boolean(b bool) {
	if w.json {
		w.b = strconv.AppendBool(w.b, b)
	} else {
		w.b = msgp.AppendBool(w.b, b)
	}
}

// arg writes one argument and makes sure that it is one value that peers can read. With an error nothing is written.
func (w *writer) arg(a parser.Arg) error {
	start := len(w.b)
	var err error
	if w.json {
		err = w.jsonArg(a)
	} else {
		err = w.msgpackArg(a)
	}
	if err != nil {
		w.b = w.b[:start]
		return fmt.Errorf("rediswire: argument: %w", err)
	}
	return nil
}

// jsonArg writes an argument as JavaScript would.
func (w *writer) jsonArg(a parser.Arg) error {
	start := len(w.b)
	b, err := a.AppendJSON(w.b)
	if errors.Is(err, parser.ErrBinary) {
		if !w.text {
			w.binary = true
			return err
		}
		return w.textArg(a)
	}
	if err != nil {
		return err
	}
	w.b = b
	_, err = jsonscan.Value(b[start:], mpack.MaxDepth)
	return err
}

// textArg writes an argument with binary, each in the form of a Buffer.
func (w *writer) textArg(a parser.Arg) error {
	raw, err := a.AppendMsgpack(nil)
	if err != nil {
		return err
	}
	b, rest, err := mpack.AppendJSON(w.b, raw, bufferForm{})
	if err == nil && len(rest) > 0 {
		err = errMsgpackTail
	}
	w.b = b
	return err
}

func (w *writer) msgpackArg(a parser.Arg) error {
	start := len(w.b)
	b, err := a.AppendMsgpack(w.b)
	if err != nil {
		return err
	}
	w.b = b
	rest, ext, err := mpack.Check(b[start:])
	if err == nil && len(rest) > 0 {
		err = errMsgpackTail
	}
	if err == nil && ext {
		w.b = append(b[:start], appendPlain(nil, b[start:], w.dates)...)
	}
	return err
}

// packet writes an EVENT, with its namespace where nsp is set.
func (w *writer) packet(p *parser.Packet, nsp bool) error {
	if err := checkEvent(p.Event); err != nil {
		return err
	}
	if nsp {
		w.object(3)
	} else {
		w.object(2)
	}
	w.key("type")
	w.integer(int64(parser.Event))
	w.key("data")
	if err := w.event(p); err != nil {
		return err
	}
	if nsp {
		w.key("nsp")
		w.str(p.Namespace)
	}
	w.endObject()
	return nil
}

// event writes the name of an event and its arguments.
func (w *writer) event(p *parser.Packet) error {
	w.array(len(p.Args) + 1)
	w.item()
	w.str(p.Event)
	for _, a := range p.Args {
		w.item()
		if err := w.arg(a); err != nil {
			return err
		}
	}
	w.endArray()
	return nil
}

// targetForm says which fields of a Target are written, and in what order.
type targetForm uint8

const (
	targetServer  targetForm = iota // rooms, except, flags
	targetEmitter                   // rooms, flags, except
	targetLegacy                    // rooms, flags
	targetPlain                     // rooms, except
)

// opts writes the field that has a Target.
func (w *writer) opts(t *Target, form targetForm) {
	w.key("opts")
	w.target(t, form)
}

// requestID writes the field with the id of a request, if there is one.
func (w *writer) requestID(id string) {
	if id != "" {
		w.key("requestId")
		w.str(id)
	}
}

func (w *writer) target(t *Target, form targetForm) {
	fields := 3
	if form >= targetLegacy {
		fields = 2
	}
	w.object(fields)
	w.key("rooms")
	w.strs(t.Rooms)
	if form == targetEmitter || form == targetLegacy {
		w.flags(t)
	}
	if form != targetLegacy {
		w.key("except")
		w.strs(t.Except)
	}
	if form == targetServer {
		w.flags(t)
	}
	w.endObject()
}

// flags writes only the flags that are set: peers hand on what they find.
func (w *writer) flags(t *Target) {
	n := 0
	for _, set := range [...]bool{t.Flags.Single, t.Flags.Volatile, t.Flags.NoCompress, t.Timeout > 0} {
		if set {
			n++
		}
	}
	w.key("flags")
	w.object(n)
	if n == 0 {
		w.endObject()
		return
	}
	if t.Flags.Single {
		w.key("expectSingleResponse")
		w.boolean(true)
	}
	if t.Flags.Volatile {
		w.key("volatile")
		w.boolean(true)
	}
	if t.Flags.NoCompress {
		w.key("compress")
		w.boolean(false)
	}
	if t.Timeout > 0 {
		w.key("timeout")
		w.integer(max(t.Timeout.Milliseconds(), 1))
	}
	w.endObject()
}
