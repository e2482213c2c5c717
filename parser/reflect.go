package parser

import (
	"encoding"
	stdjson "encoding/json"
	"errors"
	"reflect"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// legacy makes the library behave as encoding/json does, but that characters which only HTML and JavaScript
// sources find difficult are not escaped.
var legacy = json.JoinOptions(jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false))

// reflected appends the JSON of a value that is none of Go's basic types.
func (e *encoder) reflected(v any) error {
	if !mayHoldBytes(v) {
		return e.plain(v)
	}
	return e.deeper(func() error { return e.withBytes(v) })
}

// plain appends the JSON of a value that cannot hold binary.
func (e *encoder) plain(v any) error {
	if e.codec != nil {
		b, err := e.codec.Marshal(v)
		e.buf = append(e.buf, b...)
		return err
	}
	if e.std == nil {
		e.std = stdjson.NewEncoder(&e.out)
		e.std.SetEscapeHTML(false)
	}
	e.out.Reset()
	err := e.std.Encode(v)
	if err != nil {
		e.std = nil // an encoder keeps the error of its writer
		return err
	}
	b := e.out.Bytes()
	e.buf = append(e.buf, b[:len(b)-1]...) // without the newline
	return nil
}

func (e *encoder) withBytes(v any) error {
	if e.mixed == nil {
		e.mixed = json.JoinOptions(legacy, json.WithMarshalers(json.MarshalToFunc(e.special)))
	}
	b, err := json.Marshal(v, e.mixed)
	e.buf = append(e.buf, b...)
	return err
}

// special encodes what is ours inside a value: binary and arguments. p points to it.
func (e *encoder) special(enc *jsontext.Encoder, p any) error {
	n := len(e.buf)
	switch p := p.(type) {
	case *[]byte:
		if *p == nil {
			return errors.ErrUnsupported // null
		}
		e.bytes(*p)
	case *Arg:
		if err := e.deeper(func() error { return e.arg(*p) }); err != nil {
			return err
		}
	default:
		v := reflect.ValueOf(p).Elem()
		if !isBytes(v.Type()) || v.IsNil() {
			return errors.ErrUnsupported
		}
		e.bytes(v.Bytes())
	}
	err := enc.WriteValue(jsontext.Value(e.buf[n:]))
	e.buf = e.buf[:n]
	return err
}

// classes remembers of each type whether values of it may hold bytes: map[reflect.Type]bool.
// There are no more entries than types in the program.
var classes sync.Map

func mayHoldBytes(v any) bool {
	switch v.(type) {
	case nil, string, bool, int, int64, int32, uint, uint64, uint32, float64, float32, []string, stdjson.RawMessage:
		return false
	}
	t := reflect.TypeOf(v)
	if known, ok := classes.Load(t); ok {
		c, ok := known.(bool)
		return c && ok // it is a bool
	}
	c := typeMayHoldBytes(t, map[reflect.Type]bool{})
	classes.Store(t, c)
	return c
}

var (
	argType     = reflect.TypeFor[Arg]()
	jsonType    = reflect.TypeFor[stdjson.Marshaler]()
	textType    = reflect.TypeFor[encoding.TextMarshaler]()
	unjsonType  = reflect.TypeFor[stdjson.Unmarshaler]()
	untextType  = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawJSONType = reflect.TypeFor[stdjson.RawMessage]()
)

// typeMayHoldBytes looks at everything that values of t may consist of; seen holds what is being looked at.
func typeMayHoldBytes(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch {
	case t == argType:
		return true
	case t.Kind() == reflect.Interface:
		return true
	case t.Implements(jsonType) || t.Implements(textType):
		return t.Kind() == reflect.Pointer && t.Elem() == argType
	}
	switch t.Kind() {
	case reflect.Slice:
		return isBytes(t) || typeMayHoldBytes(t.Elem(), seen)
	case reflect.Pointer, reflect.Map, reflect.Array:
		return typeMayHoldBytes(t.Elem(), seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if typeMayHoldBytes(f.Type, seen) {
				return true
			}
		}
		return false
	default:
		return false
	}
}

// isBytes tells whether t is a slice of bytes that encoding/json would make base64 of.
func isBytes(t reflect.Type) bool {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Uint8 || t == rawJSONType {
		return false
	}
	pt := reflect.PointerTo(t)
	pe := reflect.PointerTo(t.Elem())
	return !pt.Implements(jsonType) && !pt.Implements(textType) && !pe.Implements(jsonType) && !pe.Implements(textType)
}
