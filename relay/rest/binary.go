package rest

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sockeye-io/sockeye/parser"
)

// binaryName is the name of the one member of the object that stands for bytes, whose value is their base64.
const binaryName = "$base64"

// arguments makes arguments of an event of JSON. What has no bytes in it goes as it came.
func arguments(raw []jsontext.Value, pointer string) ([]any, *problem) {
	args := make([]any, len(raw))
	for i, r := range raw {
		a, p := argument(r, pointer+"/"+strconv.Itoa(i))
		if p != nil {
			return nil, p
		}
		args[i] = a
	}
	return args, nil
}

func argument(raw jsontext.Value, pointer string) (any, *problem) {
	if !bytes.Contains(raw, []byte(binaryName)) {
		return parser.RawJSON(raw), nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if raw.Kind() == jsontext.KindBeginArray {
		return arrayOf(d, pointer)
	}
	if raw.Kind() == jsontext.KindBeginObject {
		return objectOf(d, pointer)
	}
	return parser.RawJSON(raw), nil // a string that has the name in it
}

func arrayOf(d *jsontext.Decoder, pointer string) (any, *problem) {
	values := []any{}
	if _, err := d.ReadToken(); err != nil {
		return nil, invalid(pointer, "not JSON")
	}
	for d.PeekKind() != jsontext.KindEndArray {
		raw, err := d.ReadValue()
		if err != nil {
			return nil, invalid(pointer, "not JSON")
		}
		v, p := argument(raw.Clone(), pointer+"/"+strconv.Itoa(len(values)))
		if p != nil {
			return nil, p
		}
		values = append(values, v)
	}
	return values, nil
}

func objectOf(d *jsontext.Decoder, pointer string) (any, *problem) {
	values := map[string]any{}
	if _, err := d.ReadToken(); err != nil {
		return nil, invalid(pointer, "not JSON")
	}
	var encoded *string
	for d.PeekKind() != jsontext.KindEndObject {
		t, err := d.ReadToken()
		if err != nil {
			return nil, invalid(pointer, "not JSON")
		}
		name := t.String()
		raw, err := d.ReadValue()
		if err != nil {
			return nil, invalid(pointer, "not JSON")
		}
		if raw = raw.Clone(); name == binaryName && raw.Kind() == jsontext.KindString {
			b, err := jsontext.AppendUnquote(nil, raw)
			if err != nil {
				return nil, invalid(pointer, "not JSON")
			}
			s := string(b)
			encoded = &s
		}
		v, p := argument(raw, pointer+"/"+escape(name))
		if p != nil {
			return nil, p
		}
		values[name] = v
	}
	if encoded == nil || len(values) > 1 {
		return values, nil
	}
	b, err := base64.StdEncoding.DecodeString(*encoded)
	if err != nil {
		return nil, invalid(pointer+"/"+binaryName, "it must be base64, as in RFC 4648, section 4, with padding")
	}
	return b, nil
}

// escape makes a name a part of a JSON pointer.
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// readable gives arguments of clients in the form that requests have.
func readable(args []parser.Arg) []any {
	values := make([]any, len(args))
	for i, a := range args {
		if !a.HasBinary() {
			if b, err := a.AppendJSON(nil); err == nil {
				values[i] = rawJSON(b)
				continue
			}
		}
		v, err := a.Any()
		if err != nil {
			v = nil // it came from a client, and says nothing
		}
		values[i] = withBinary(v)
	}
	return values
}

func withBinary(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]string{binaryName: base64.StdEncoding.EncodeToString(v)}
	case []any:
		for i := range v {
			v[i] = withBinary(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withBinary(v[k])
		}
	}
	return v
}

// rawJSON is JSON that is checked already.
type rawJSON []byte

// MarshalJSON gives it as it is.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }
