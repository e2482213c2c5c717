package event

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/sockeye-io/sockeye/parser"
)

// Args is to be embedded in a struct: it makes the exported fields positional arguments. Scan fills them in
// order, and an emit sends them in order.
//
// Protocol: socket.io v5, "Sending and receiving data"
type Args struct{}

func (Args) positional() {}

// positional is implemented by structs that embed Args.
type positional interface{ positional() }

// AppendArgs appends the arguments of an emit to dst: a struct that embeds [Args] gives its exported fields,
// any other value itself.
func AppendArgs(dst []parser.Arg, args []any) []parser.Arg {
	for _, a := range args {
		if p, ok := a.(positional); ok {
			dst = appendFields(dst, p)
			continue
		}
		dst = append(dst, parser.Value(a))
	}
	return dst
}

func appendFields(dst []parser.Arg, p positional) []parser.Arg {
	v := reflect.ValueOf(p)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return append(dst, parser.Value(nil))
		}
		v = v.Elem()
	}
	for _, i := range fieldsOf(v.Type()) {
		dst = append(dst, parser.Value(v.Field(i).Interface()))
	}
	return dst
}

// layouts caches the exported fields of structs that embed Args, by type.
type layouts struct{ m sync.Map }

func (l *layouts) of(t reflect.Type) []int {
	if v, ok := l.m.Load(t); ok {
		return v.([]int) //nolint:errcheck // only this method stores
	}
	var fields []int
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && f.Type != argsType {
				fields = append(fields, i)
			}
		}
	}
	l.m.Store(t, fields)
	return fields
}

var (
	argsType = reflect.TypeFor[Args]()

	// fieldLayouts is a cache: types do not change.
	fieldLayouts layouts
)

func fieldsOf(t reflect.Type) []int { return fieldLayouts.of(t) }

// scan decodes args into dst.
func scan(args []parser.Arg, dst []any) error {
	at := 0
	for _, d := range dst {
		if at >= len(args) {
			return nil
		}
		if d == nil {
			at++
			continue
		}
		if isPositional(d) {
			n, err := scanFields(args, at, d)
			if err != nil {
				return err
			}
			at = n
			continue
		}
		if err := args[at].Scan(d); err != nil {
			return fmt.Errorf("argument %d: %w", at, err)
		}
		at++
	}
	return nil
}

// isPositional tells whether d points to a struct that embeds Args, or to a pointer to one.
func isPositional(d any) bool {
	if _, ok := d.(positional); ok {
		return true
	}
	t := reflect.TypeOf(d)
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Pointer && t.Elem().Implements(positionalType)
}

func scanFields(args []parser.Arg, at int, d any) (next int, err error) {
	v := reflect.ValueOf(d)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return at, fmt.Errorf("argument %d: destination is not a pointer", at)
	}
	v = v.Elem()
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	for _, i := range fieldsOf(v.Type()) {
		if at >= len(args) {
			return at, nil
		}
		if err := args[at].Scan(v.Field(i).Addr().Interface()); err != nil {
			return at, fmt.Errorf("argument %d: %w", at, err)
		}
		at++
	}
	return at, nil
}
