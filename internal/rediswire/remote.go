package rediswire

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/parser"
)

// appendRemote writes what other servers learn of a socket. Peers rely on handshake, its headers and data being
// objects and rooms being an array.
//
// Node: @socket.io/redis-adapter/lib/index.ts onrequest REMOTE_FETCH.
func appendRemote(dst []byte, r *adapter.Remote) []byte {
	dst = append(dst, '{')
	dst = js.AppendString(appendKey(dst, "id"), r.ID)
	dst = appendHandshake(appendKey(dst, "handshake"), &r.Handshake)
	dst = appendJSONStrings(appendKey(dst, "rooms"), r.Rooms)
	dst = appendObjectArg(appendKey(dst, "data"), r.Data, true)
	return append(dst, '}')
}

func appendHandshake(dst []byte, h *adapter.Handshake) []byte {
	dst = append(dst, '{')
	dst = appendHeaders(appendKey(dst, "headers"), h.Headers)
	dst = js.AppendString(appendKey(dst, "time"), h.Time)
	dst = js.AppendString(appendKey(dst, "address"), h.Address)
	dst = appendBool(appendKey(dst, "xdomain"), h.XDomain)
	dst = appendBool(appendKey(dst, "secure"), h.Secure)
	dst = strconv.AppendInt(appendKey(dst, "issued"), h.Issued, 10)
	dst = js.AppendString(appendKey(dst, "url"), h.URL)
	dst = append(appendKey(dst, "query"), '{')
	for _, k := range sortedKeys(h.Query) {
		dst = js.AppendString(appendNameKey(dst, k), h.Query[k])
	}
	dst = append(dst, '}')
	dst = appendObjectArg(appendKey(dst, "auth"), h.Auth, false)
	return append(dst, '}')
}

// appendHeaders writes headers as Node's HTTP server shows them: names in lower case, repeated ones joined, but
// for set-cookie.
func appendHeaders(dst []byte, headers map[string][]string) []byte {
	byName := make(map[string][]string, len(headers))
	for _, k := range sortedKeys(headers) {
		name := strings.ToLower(k)
		byName[name] = append(byName[name], headers[k]...)
	}
	dst = append(dst, '{')
	for _, k := range sortedKeys(byName) {
		dst = appendNameKey(dst, k)
		switch k {
		case "set-cookie":
			dst = appendJSONStrings(dst, byName[k])
		case "cookie":
			dst = js.AppendString(dst, strings.Join(byName[k], "; "))
		default:
			dst = js.AppendString(dst, strings.Join(byName[k], ", "))
		}
	}
	return append(dst, '}')
}

// appendNameKey starts an entry whose key needs quoting.
func appendNameKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(js.AppendString(dst, key), ':')
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// appendObjectArg writes a as an object or array. Where it is something else, it is wrapped as the entry "value"
// of one, or left out without wrap; null and what cannot be written become an empty object.
func appendObjectArg(dst []byte, a parser.Arg, wrap bool) []byte {
	if a.IsZero() {
		return append(dst, "{}"...)
	}
	raw, err := appendJSONArg(nil, a)
	switch {
	case err != nil || len(raw) == 0 || string(raw) == "null":
		return append(dst, "{}"...)
	case raw[0] == '{' || raw[0] == '[' && wrap:
		return append(dst, raw...)
	case wrap:
		dst = append(dst, `{"value":`...)
		return append(append(dst, raw...), '}')
	default:
		return append(dst, "{}"...)
	}
}

// parseRemote reads what another server says of a socket.
func parseRemote(b []byte) (adapter.Remote, error) {
	var r adapter.Remote
	o, err := parseObject(b)
	if err != nil {
		return r, err
	}
	if r.ID, err = o.str("id"); err != nil {
		return r, err
	}
	if r.ID == "" {
		return r, field("id", errJSONKind)
	}
	if r.Rooms, _, err = o.names("rooms"); err != nil {
		return r, err
	}
	if !o.absent("data") {
		r.Data = parser.RawJSON(o["data"])
	}
	if o.absent("handshake") {
		return r, nil
	}
	h, err := parseObject(o["handshake"])
	if err != nil {
		return r, field("handshake", err)
	}
	r.Handshake, err = parseHandshake(h)
	return r, err
}

func parseHandshake(o object) (adapter.Handshake, error) {
	var h adapter.Handshake
	var err error
	for _, f := range []struct {
		key string
		dst *string
	}{{"time", &h.Time}, {"address", &h.Address}, {"url", &h.URL}} {
		if *f.dst, err = o.str(f.key); err != nil {
			return h, err
		}
	}
	h.Issued, _ = o.integer("issued")
	h.Secure = o.truth("secure")
	h.XDomain = o.truth("xdomain")
	if !o.absent("auth") {
		h.Auth = parser.RawJSON(o["auth"])
	}
	if !o.absent("headers") {
		headers, err := parseObject(o["headers"])
		if err != nil {
			return h, field("headers", err)
		}
		h.Headers = make(map[string][]string, len(headers))
		for k, v := range headers {
			h.Headers[k] = texts(v)
		}
	}
	if !o.absent("query") {
		query, err := parseObject(o["query"])
		if err != nil {
			return h, field("query", err)
		}
		h.Query = make(map[string]string, len(query))
		for k, v := range query {
			if all := texts(v); len(all) > 0 {
				h.Query[k] = all[len(all)-1]
			}
		}
	}
	return h, nil
}

// texts gives one text or an array of them.
func texts(v json.RawMessage) []string {
	if s, ok := jsonText(v); ok {
		return []string{s}
	}
	var list []json.RawMessage
	if json.Unmarshal(v, &list) != nil {
		return nil
	}
	var all []string
	for _, e := range list {
		if s, ok := jsonText(e); ok {
			all = append(all, s)
		}
	}
	return all
}
