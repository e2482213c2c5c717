package rediswire

import (
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// remotes writes what other servers learn of sockets. What cannot be written of a socket is left out of it: peers need
// the answer of every server.
func (w *writer) remotes(sockets []adapter.Remote) {
	w.array(len(sockets))
	for i := range sockets {
		w.item()
		w.remote(&sockets[i])
	}
	w.endArray()
}

// remote writes one socket. Peers rely on handshake, its headers and data being objects and rooms being an array.
//
// Node: @socket.io/redis-adapter/lib/index.ts onrequest REMOTE_FETCH.
func (w *writer) remote(r *adapter.Remote) {
	w.object(4)
	w.key("id")
	w.str(r.ID)
	w.key("handshake")
	w.handshake(&r.Handshake)
	w.key("rooms")
	w.strs(r.Rooms)
	w.key("data")
	w.objectArg(r.Data, true)
	w.endObject()
}

func (w *writer) handshake(h *adapter.Handshake) {
	w.object(9)
	w.key("headers")
	w.headers(h.Headers)
	w.key("time")
	w.str(h.Time)
	w.key("address")
	w.str(h.Address)
	w.key("xdomain")
	w.boolean(h.XDomain)
	w.key("secure")
	w.boolean(h.Secure)
	w.key("issued")
	w.integer(h.Issued)
	w.key("url")
	w.str(h.URL)
	w.key("query")
	w.object(len(h.Query))
	for _, k := range sortedKeys(h.Query) {
		w.name(k)
		w.str(h.Query[k])
	}
	w.endObject()
	w.key("auth")
	w.objectArg(h.Auth, false)
	w.endObject()
}

// headers writes headers as Node's HTTP server shows them: names in lower case, repeated ones joined, but for
// set-cookie.
func (w *writer) headers(headers map[string][]string) {
	byName := make(map[string][]string, len(headers))
	for _, k := range sortedKeys(headers) {
		name := strings.ToLower(k)
		byName[name] = append(byName[name], headers[k]...)
	}
	w.object(len(byName))
	for _, k := range sortedKeys(byName) {
		w.name(k)
		switch k {
		case "set-cookie":
			w.strs(byName[k])
		case "cookie":
			w.str(strings.Join(byName[k], "; "))
		default:
			w.str(strings.Join(byName[k], ", "))
		}
	}
	w.endObject()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// wrapKey is the one entry of an object that stands for data that is none: Node servers want objects.
const wrapKey = "_value"

// dataOf gives the data that objectArg has written.
func dataOf(v value) value {
	c, ok := v.object()
	if !ok {
		return v
	}
	key, inner, ok := c.field()
	if !ok || string(key) != wrapKey {
		return v
	}
	if _, _, more := c.field(); more {
		return v
	}
	return inner
}

// objectArg writes a as an object or array. Where it is something else, it is wrapped as the entry wrapKey of one, or
// left out without wrap; null and what cannot be written become an empty object.
func (w *writer) objectArg(a parser.Arg, wrap bool) {
	arg := writer{json: w.json, dates: w.dates, text: w.text}
	if a.IsZero() || arg.arg(a) != nil {
		w.binary = w.binary || arg.binary
		w.object(0)
		w.endObject()
		return
	}
	v := value{arg.b, w.json}
	_, object := v.object()
	_, array := v.array()
	switch {
	case object || array && wrap:
		w.b = append(w.b, arg.b...)
	case wrap && !v.missing():
		w.object(1)
		w.key(wrapKey)
		w.b = append(w.b, arg.b...)
		w.endObject()
	default:
		w.object(0)
		w.endObject()
	}
}

// readRemotes reads what another server says of its sockets. With an error it gives those that could be read; ok tells
// whether v is such a list at all.
func readRemotes(v value) (sockets []adapter.Remote, ok bool, err error) {
	c, ok := v.array()
	if !ok {
		return nil, false, malformed("sockets", errKind)
	}
	for e, ok := c.next(); ok; e, ok = c.next() {
		s, bad := readRemote(e)
		if bad != nil {
			err = malformed("socket", bad)
			continue
		}
		sockets = append(sockets, s)
	}
	return sockets, true, err
}

func readRemote(v value) (r adapter.Remote, err error) {
	c, ok := v.object()
	if !ok {
		return r, errKind
	}
	for key, v, ok := c.field(); ok && err == nil; key, v, ok = c.field() {
		switch string(key) {
		case "id":
			r.ID, err = v.optional("id")
		case "rooms":
			r.Rooms, _, err = v.names("rooms")
		case "data":
			r.Data = dataOf(v).optionalArg()
		case "handshake":
			r.Handshake, err = readHandshake(v)
		}
	}
	if err == nil && r.ID == "" {
		err = field("id", errKind)
	}
	return r, err
}

func readHandshake(v value) (h adapter.Handshake, err error) {
	if v.missing() {
		return h, nil
	}
	c, ok := v.object()
	if !ok {
		return h, field("handshake", errKind)
	}
	for key, v, ok := c.field(); ok && err == nil; key, v, ok = c.field() {
		switch string(key) {
		case "time":
			h.Time, err = v.optional("time")
		case "address":
			h.Address, err = v.optional("address")
		case "url":
			h.URL, err = v.optional("url")
		case "issued":
			h.Issued, _ = v.integer()
		case "secure":
			h.Secure = v.is(true)
		case "xdomain":
			h.XDomain = v.is(true)
		case "auth":
			h.Auth = v.optionalArg()
		case "headers":
			h.Headers, err = readTexts("headers", v)
		case "query":
			h.Query, err = readQuery(v)
		}
	}
	return h, err
}

// readTexts reads an object of texts, or arrays of them.
func readTexts(key string, v value) (map[string][]string, error) {
	if v.missing() {
		return nil, nil //nolint:nilnil // there are none
	}
	c, ok := v.object()
	if !ok {
		return nil, field(key, errKind)
	}
	all := map[string][]string{}
	for k, v, ok := c.field(); ok; k, v, ok = c.field() {
		all[string(k)] = v.texts()
	}
	return all, nil
}

// readQuery reads an object of texts; of several the last.
func readQuery(v value) (map[string]string, error) {
	texts, err := readTexts("query", v)
	if texts == nil {
		return nil, err
	}
	query := make(map[string]string, len(texts))
	for k, t := range texts {
		if len(t) > 0 {
			query[k] = t[len(t)-1]
		}
	}
	return query, nil
}

// texts gives one text or an array of them.
func (v value) texts() []string {
	if s, ok := v.text(); ok {
		return []string{s}
	}
	all, _, _ := v.names("") // anything else is no text
	return all
}
