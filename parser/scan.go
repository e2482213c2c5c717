package parser

import (
	stdjson "encoding/json"
	"errors"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sockeye-io/sockeye/internal/jsonscan"
)

// Scan stores the argument in what dst points to, by the rules of encoding/json. Binary goes to byte slices,
// to arrays of bytes of its length, and to interfaces, as a copy. A *Arg gets the argument itself. An absent
// argument changes nothing. Dates of MessagePack come as the text that JavaScript would make of them.
func (a Arg) Scan(dst any) error {
	if d, ok := dst.(*Arg); ok {
		*d = a
		return nil
	}
	switch a.kind {
	case argJSON:
		return a.scanJSON(dst)
	case argRawJSON:
		if _, err := jsonscan.Value(a.raw, jsonscan.MaxDepth); err != nil {
			return ErrArg
		}
		return Arg{kind: argJSON, raw: a.raw, src: a.src}.scanJSON(dst)
	case argBytes:
		return scanBytes(a.raw, dst)
	case argMsgpack:
		if b, ok := msgpackBytes(a.raw); ok {
			return scanBytes(b, dst)
		}
		return a.scanEncoded(dst)
	case argValue:
		return a.scanEncoded(dst)
	default:
		return nil
	}
}

// Any gives the argument as nil, bool, float64, string, []any, map[string]any or []byte.
func (a Arg) Any() (any, error) {
	var v any
	err := a.Scan(&v)
	return v, err
}

// scanEncoded scans by way of JSON.
func (a Arg) scanEncoded(dst any) error {
	e := newEncoder(a.codec())
	defer e.free()
	if err := e.arg(a); err != nil {
		return err
	}
	src := a.src
	if len(e.att) > 0 {
		src = &source{bin: append([][]byte(nil), e.att...), codec: a.codec()}
		if a.kind == argMsgpack { // for Go values the places are not known
			src.ph = append([]jsonscan.Placeholder(nil), e.own...)
		}
	}
	// The text is copied, since an Unmarshaler might keep a part of it.
	return Arg{kind: argJSON, raw: append([]byte(nil), e.buf...), src: src}.scanJSON(dst)
}

func (a Arg) scanJSON(dst any) error {
	if a.bin() != nil {
		return a.scanMixed(dst)
	}
	switch d := dst.(type) {
	case *string:
		if n := len(a.raw); d != nil && a.raw[0] == '"' && jsonscan.Plain(a.raw[1:]) == n-2 {
			*d = string(a.raw[1 : n-1])
			return nil
		}
	case *any:
		if d != nil && *d == nil {
			return scanAny(&anyDecoder{b: a.raw}, d)
		}
	}
	if c := a.codec(); c != nil {
		return c.Unmarshal(a.raw, dst)
	}
	return json.Unmarshal(a.raw, dst, legacy)
}

func scanAny(d *anyDecoder, dst *any) error {
	v, err := d.value()
	if err == nil {
		*dst = v
	}
	return err
}

// scanMixed scans JSON with attachments.
func (a Arg) scanMixed(dst any) error {
	r := &resolver{raw: a.raw, bin: a.bin(), ph: a.placeholders(nil)}
	switch d := dst.(type) {
	case *any:
		if d != nil && *d == nil {
			return scanAny(&anyDecoder{b: a.raw, ph: r.ph, bin: r.bin}, d)
		}
	case *[]byte:
		if len(r.ph) == 1 && r.ph[0].Start == 0 {
			return scanBytes(r.bin[r.ph[0].Num], d)
		}
	}
	u := json.WithUnmarshalers(json.UnmarshalFromFunc(r.special))
	return json.Unmarshal(a.raw, dst, legacy, u)
}

// resolver puts attachments in the place of their placeholders.
type resolver struct {
	raw []byte
	bin [][]byte
	ph  []jsonscan.Placeholder // in raw
}

// special decodes what may be binary; p points to it.
func (r *resolver) special(dec *jsontext.Decoder, p any) error {
	kind := dec.PeekKind()
	t := reflect.TypeOf(p).Elem()
	switch d := p.(type) {
	case *any:
		if *d != nil && reflect.TypeOf(*d).Kind() == reflect.Pointer {
			return errors.ErrUnsupported // encoding/json decodes into what it points to
		}
	case *Arg:
	default:
		bytes := t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8 || t.Kind() == reflect.Slice && isBytes(t)
		if pt := reflect.PointerTo(t); kind != '{' || !bytes || pt.Implements(unjsonType) || pt.Implements(untextType) {
			return errors.ErrUnsupported
		}
	}
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	end := int(dec.InputOffset())
	start := end - len(raw)
	switch d := p.(type) {
	case *any:
		return scanAny(&anyDecoder{b: r.raw[:end], i: start, ph: r.from(start), bin: r.bin}, d)
	case *Arg:
		*d = r.part(start, end)
		return nil
	}
	ph := r.from(start)
	if len(ph) == 0 || ph[0].Start != start {
		return &stdjson.UnmarshalTypeError{Value: "object", Type: t}
	}
	return scanBytes(r.bin[ph[0].Num], p)
}

// from gives the placeholders that begin at start or later.
func (r *resolver) from(start int) []jsonscan.Placeholder {
	i, _ := slices.BinarySearchFunc(r.ph, start, func(h jsonscan.Placeholder, at int) int { return h.Start - at })
	return r.ph[i:]
}

// part gives a part of the text as an argument of its own.
func (r *resolver) part(start, end int) Arg {
	a := Arg{kind: argJSON, raw: r.raw[start:end:end]}
	src := &source{bin: r.bin}
	for _, h := range r.from(start) {
		if h.Start < end {
			h.Start, h.End = h.Start-start, h.End-start
			src.ph = append(src.ph, h)
		}
	}
	if len(src.ph) > 0 {
		a.src = src
	}
	return a
}

// scanBytes stores a copy of b.
func scanBytes(b []byte, dst any) error {
	switch d := dst.(type) {
	case *[]byte:
		if d != nil {
			*d = append(make([]byte, 0, len(b)), b...)
			return nil
		}
	case *any:
		if d != nil {
			*d = append(make([]byte, 0, len(b)), b...)
			return nil
		}
	}
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return &stdjson.InvalidUnmarshalError{Type: reflect.TypeOf(dst)}
	}
	v = v.Elem()
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	t := v.Type()
	switch {
	case t == argType:
		v.Set(reflect.ValueOf(Bytes(b)))
	case t.Kind() == reflect.Slice && isBytes(t):
		v.SetBytes(append(make([]byte, 0, len(b)), b...))
	case t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8 && t.Len() == len(b):
		reflect.Copy(v, reflect.ValueOf(b))
	case t.Kind() == reflect.Interface && t.NumMethod() == 0:
		v.Set(reflect.ValueOf(append(make([]byte, 0, len(b)), b...)))
	default:
		return &stdjson.UnmarshalTypeError{Value: "binary", Type: t}
	}
	return nil
}
