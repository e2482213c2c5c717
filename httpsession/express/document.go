package express

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"
)

// errJSON says that what is in the store is not a session of express-session. Its text has nothing of what is there.
var errJSON = errors.New("express: the session in the store is not one of express-session")

// member is one key of a session. Both parts are kept as they were written.
type member struct {
	key  string
	name []byte // the key, as JSON
	raw  []byte
}

// document is the JSON of a session, in its order.
type document []member

// parseDocument reads a session.
func parseDocument(data []byte) (document, error) {
	if !json.Valid(data) {
		return nil, errJSON
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errJSON
	}
	var doc document
	for d.More() {
		from := d.InputOffset()
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, errJSON
		}
		m := member{key: key, name: bytes.TrimLeft(data[from:d.InputOffset()], ", \t\r\n")}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil, errJSON
		}
		m.raw = raw
		if i := doc.index(key); i >= 0 { // JavaScript takes the last, in the place of the first
			doc[i].raw = m.raw
			continue
		}
		doc = append(doc, m)
	}
	if i := doc.index(cookieKey); i < 0 || doc[i].raw[0] != '{' { // Node throws on it
		return nil, errJSON
	}
	return doc, nil
}

func (doc document) index(key string) int {
	for i := range doc {
		if doc[i].key == key {
			return i
		}
	}
	return -1
}

// encode gives the JSON.
func (doc document) encode() []byte {
	n := 2
	for _, m := range doc {
		n += len(m.name) + len(m.raw) + 2
	}
	b := append(make([]byte, 0, n), '{')
	for i, m := range doc {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, m.name...), ':'), m.raw...)
	}
	return append(b, '}')
}

// set changes a value where it is, or adds it at the end.
func (doc document) set(key string, raw []byte) document {
	if i := doc.index(key); i >= 0 {
		doc[i].raw = raw
		return doc
	}
	return append(doc, member{key, marshal(key), raw})
}

func (doc document) remove(key string) document {
	if i := doc.index(key); i >= 0 {
		return append(doc[:i], doc[i+1:]...)
	}
	return doc
}

// marshal is json.Marshal of a string, as JavaScript would write it.
func marshal(s string) []byte {
	b, _ := encodeJSON(s) // a string can be encoded
	return b
}

// encodeJSON encodes a value without the escapes that are for HTML.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decodeJSON decodes a value; into an *any, numbers as json.Number.
func decodeJSON(data []byte, dst any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, ok := dst.(*any); ok {
		d.UseNumber()
	}
	err := d.Decode(dst)
	if errors.Is(err, io.EOF) {
		return errJSON
	}
	return err
}

// maxAge gives how long the cookie lets the session live; ok is false where it does not say.
//
// Node: express-session/session/session.js resetMaxAge
func (doc document) maxAge() (d time.Duration, ok bool) {
	var cookie struct {
		OriginalMaxAge any `json:"originalMaxAge"`
	}
	if json.Unmarshal(doc[doc.index(cookieKey)].raw, &cookie) != nil {
		return 0, false
	}
	ms, ok := cookie.OriginalMaxAge.(float64)
	if !ok {
		return 0, false
	}
	const most = float64(math.MaxInt64 / int64(time.Millisecond) / 2)
	return time.Duration(max(-most, min(most, ms)) * float64(time.Millisecond)), true
}
