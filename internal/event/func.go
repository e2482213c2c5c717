package event

import (
	"context"
	"fmt"
	"reflect"
)

var (
	contextType    = reflect.TypeFor[context.Context]()
	errorType      = reflect.TypeFor[error]()
	positionalType = reflect.TypeFor[positional]()
)

// Func makes a [Handler] of a plain function: func([context.Context,] A, B, …) ([R, …] [error]). Its
// parameters are scanned from the arguments of the event, missing ones being zero; its results other than the
// error are the acknowledgement, if the peer wants one. A [*PeerError] is answered as by [Call]. Events that
// are handled often should use [Event] or [Call], which need no reflection.
//
// It panics if fn is no function of that shape.
//
// Protocol: socket.io v5, "Sending and receiving data"
func Func(fn any) Handler {
	h := &reflected{fn: reflect.ValueOf(fn)}
	if h.fn.Kind() != reflect.Func || h.fn.IsNil() {
		panic(fmt.Sprintf("event: Func: %T is not a function", fn)) //nolint:forbidigo // at construction
	}
	t := h.fn.Type()
	if t.IsVariadic() {
		panic("event: Func: variadic functions are not supported") //nolint:forbidigo // at construction
	}
	for i := range t.NumIn() {
		in := t.In(i)
		switch {
		case in == contextType && i == 0:
			h.ctx = true
		case in == contextType, in.Kind() == reflect.Chan, in.Kind() == reflect.Func:
			//nolint:forbidigo // at construction
			panic(fmt.Sprintf("event: Func: parameter %d of %T cannot be an argument of an event", i, fn))
		default:
			h.in = append(h.in, in)
		}
	}
	h.out = t.NumOut()
	if h.out > 0 && t.Out(h.out-1) == errorType {
		h.err = true
		h.out--
	}
	return h
}

// reflected is a function called by reflection.
type reflected struct {
	fn  reflect.Value
	in  []reflect.Type // without the context
	out int            // results without the error
	ctx bool           // whether it takes a context
	err bool           // whether it returns an error
}

// ServeEvent implements Handler.
func (h *reflected) ServeEvent(ctx context.Context, m *Message) error {
	args := make([]reflect.Value, 0, len(h.in)+1)
	if h.ctx {
		args = append(args, reflect.ValueOf(&ctx).Elem())
	}
	dst := make([]any, len(h.in))
	for i, t := range h.in {
		v := reflect.New(t)
		dst[i] = v.Interface()
		args = append(args, v.Elem())
	}
	if err := m.Scan(dst...); err != nil {
		return err
	}
	out := h.fn.Call(args)
	if h.err {
		if err, ok := reflect.TypeAssert[error](out[h.out]); ok {
			return m.fail(err)
		}
	}
	if h.out == 0 || !m.WantsAck() { // one without results answers by itself, or not at all
		return nil
	}
	res := make([]any, h.out)
	for i := range res {
		res[i] = out[i].Interface()
	}
	return m.Ack(res...)
}
