package rediswire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

var (
	errJSONObject = errors.New("rediswire: JSON is no object")
	errJSONKind   = errors.New("rediswire: JSON value of another type than wanted")
)

// object is a JSON object with its values as they came. A map keeps keys that differ in case apart, and the last
// of several values of one key, as JavaScript does.
type object map[string]json.RawMessage

func parseObject(b []byte) (object, error) {
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errJSONObject
	}
	return o, nil
}

// validText replaces what is not UTF-8, which JavaScript does on reading.
func validText(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\ufffd"))
}

// absent tells whether a key is missing or null.
func (o object) absent(key string) bool {
	v, ok := o[key]
	return !ok || string(v) == "null"
}

// str gives a string; "" if it is absent.
func (o object) str(key string) (string, error) {
	if o.absent(key) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(o[key], &s); err != nil {
		return "", field(key, err)
	}
	return s, nil
}

// integer gives a number without fraction; ok is false if it is absent or anything else.
func (o object) integer(key string) (n int64, ok bool) {
	if o.absent(key) {
		return 0, false
	}
	var f float64
	if json.Unmarshal(o[key], &f) != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// truth gives a boolean; false if it is absent or anything else.
func (o object) truth(key string) bool { return string(o[key]) == "true" }

// names gives an array of strings and numbers; none as for parseNames.
func (o object) names(key string) (names []string, none bool, err error) {
	if o.absent(key) {
		return nil, false, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(o[key], &list); err != nil {
		return nil, false, field(key, err)
	}
	for _, v := range list {
		if s, ok := jsonText(v); ok {
			names = append(names, s)
		}
	}
	return names, len(list) > 0 && len(names) == 0, nil
}

// jsonText gives a string, or a number as JavaScript prints it.
func jsonText(v json.RawMessage) (string, bool) {
	if len(v) == 0 {
		return "", false
	}
	if v[0] == '"' {
		var s string
		err := json.Unmarshal(v, &s)
		return s, err == nil
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return "", false
	}
	return js.NumberText(f), true
}

// target gives the sockets that the key "opts" selects.
func (o object) target() (Target, error) {
	const key = "opts"
	var t Target
	if o.absent(key) {
		return t, field(key, errJSONObject)
	}
	opts, err := parseObject(o[key])
	if err != nil {
		return t, field(key, err)
	}
	if t.Rooms, t.Nobody, err = opts.names("rooms"); err != nil {
		return t, err
	}
	if t.Except, _, err = opts.names("except"); err != nil {
		return t, err
	}
	if opts.absent("flags") {
		return t, nil
	}
	flags, err := parseObject(opts["flags"])
	if err != nil {
		return t, field("flags", err)
	}
	t.Flags.Volatile = flags.truth("volatile")
	t.Flags.NoCompress = string(flags["compress"]) == "false"
	t.Flags.Single = flags.truth("expectSingleResponse")
	ms, _ := flags.integer("timeout")
	t.Timeout = timeout(ms)
	return t, nil
}

// event gives the event name and the arguments of a data array.
func (o object) event(key string) (string, []parser.Arg, error) {
	if o.absent(key) {
		return "", nil, field(key, errJSONKind)
	}
	var data []json.RawMessage
	if err := json.Unmarshal(o[key], &data); err != nil {
		return "", nil, field(key, err)
	}
	if len(data) == 0 {
		return "", nil, field(key, errJSONKind)
	}
	event, ok := jsonText(data[0])
	if !ok {
		return "", nil, field(key, errJSONKind)
	}
	args := make([]parser.Arg, 0, len(data)-1)
	for _, v := range data[1:] {
		args = append(args, parser.RawJSON(v))
	}
	return event, args, nil
}

func field(key string, err error) error { return fmt.Errorf("%s: %w", key, err) }

// appendJSONArg writes an argument as JavaScript would: binary in the form of a Buffer.
func appendJSONArg(dst []byte, a parser.Arg) ([]byte, error) {
	start := len(dst)
	if a.HasBinary() {
		raw, err := a.AppendMsgpack(nil)
		if err != nil {
			return nil, fmt.Errorf("rediswire: argument: %w", err)
		}
		dst, rest, err := mpack.AppendJSON(dst, raw, bufferForm{})
		if err == nil && len(rest) > 0 {
			err = errMsgpackTail
		}
		if err != nil {
			return nil, fmt.Errorf("rediswire: argument: %w", err)
		}
		return dst, nil
	}
	dst, err := a.AppendJSON(dst)
	if err != nil {
		return nil, fmt.Errorf("rediswire: argument: %w", err)
	}
	if !json.Valid(dst[start:]) || !utf8.Valid(dst[start:]) {
		return nil, fmt.Errorf("rediswire: argument: %w", errJSONKind)
	}
	return dst, nil
}

// bufferForm writes bytes as JSON.stringify writes a Buffer.
type bufferForm struct{}

// AppendBytes implements [mpack.BytesWriter].
func (bufferForm) AppendBytes(dst, data []byte) []byte {
	dst = append(dst, `{"type":"Buffer","data":[`...)
	for i, c := range data {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, "]}"...)
}

func appendJSONStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = js.AppendString(dst, s)
	}
	return append(dst, ']')
}

// appendKey starts an entry of an object, which is open.
func appendKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(append(append(dst, '"'), key...), '"', ':')
}

// appendNameKey starts an entry whose key needs quoting.
func appendNameKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(js.AppendString(dst, key), ':')
}
