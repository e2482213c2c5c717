package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/mpack"
)

// nodeKind is what a value is, in words.
type nodeKind string

const (
	nodeNull    nodeKind = "null"
	nodeBool    nodeKind = "boolean"
	nodeNumber  nodeKind = "number"
	nodeText    nodeKind = "text"
	nodeBytes   nodeKind = "bytes"
	nodeExt     nodeKind = "extension"
	nodeList    nodeKind = "array"
	nodeObject  nodeKind = "object"
	nodeMissing nodeKind = ""
)

// node is a value of a message and its place in it.
type node struct {
	kind       nodeKind
	start, end int
	text       string // the text, or the value as it is shown
	keys, kids []node // a nodeObject has a key for each kid
}

// get gives the value of a key, of kind nodeMissing where there is none.
func (n *node) get(key string) *node {
	for i := len(n.kids) - 1; i >= 0; i-- { // of several the last counts, as for servers
		if i < len(n.keys) && n.keys[i].text == key {
			return &n.kids[i]
		}
	}
	return &node{}
}

// fault is what is wrong, and where.
type fault struct {
	at   int
	what string
}

func faultf(at int, format string, args ...any) *fault {
	return &fault{at, fmt.Sprintf(format, args...)}
}

// maxNesting is deeper than what servers accept.
const maxNesting = 600

// jsonTree reads the JSON text b from an offset to its end. With a fault the node has what was read before.
func jsonTree(b []byte, from int) (node, *fault) {
	if at := invalidUTF8(b[from:]); at >= 0 {
		return node{start: from, end: from}, faultf(from+at, "this is not UTF-8")
	}
	r := jsonReader{b: b, from: from, d: json.NewDecoder(bytes.NewReader(b[from:]))}
	r.d.UseNumber()
	n, f := r.value(0)
	if f != nil {
		return n, f
	}
	if rest := bytes.TrimLeft(b[n.end:], " \t\r\n"); len(rest) > 0 {
		return n, faultf(len(b)-len(rest), "the JSON has ended before this")
	}
	return n, nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size < 2 {
			return i
		}
		i += size
	}
	return -1
}

type jsonReader struct {
	b    []byte
	from int
	d    *json.Decoder
}

func (r *jsonReader) token() (t json.Token, start, end int, f *fault) {
	start = r.from + int(r.d.InputOffset())
	t, err := r.d.Token()
	end = r.from + int(r.d.InputOffset())
	if err != nil {
		return nil, start, start, r.fault()
	}
	for start < end && bytes.IndexByte([]byte(" \t\r\n,:"), r.b[start]) >= 0 {
		start++
	}
	return t, start, end, nil
}

// fault says why the text is no JSON. The decoder counts the place of its errors in more than one way.
func (r *jsonReader) fault() *fault {
	var v json.RawMessage
	err := json.Unmarshal(r.b[r.from:], &v)
	e, ok := errors.AsType[*json.SyntaxError](err)
	if !ok || int(e.Offset) > len(r.b)-r.from || strings.HasPrefix(e.Error(), "unexpected end") {
		return faultf(len(r.b), "the JSON ends too early")
	}
	return faultf(r.from+max(int(e.Offset)-1, 0), "this is not JSON: %v", e)
}

func (r *jsonReader) value(depth int) (n node, f *fault) {
	t, start, end, f := r.token()
	n = node{start: start, end: end}
	if f != nil {
		return n, f
	}
	n.text = string(r.b[start:end])
	switch t := t.(type) {
	case json.Delim:
		n.text = ""
		if depth == maxNesting {
			return n, faultf(start, "nested more than %d levels", maxNesting)
		}
		f = r.elements(&n, t == '{', depth)
	case bool:
		n.kind = nodeBool
	case json.Number:
		n.kind = nodeNumber
	case string:
		n.kind, n.text = nodeText, t
	default:
		n.kind = nodeNull
	}
	return n, f
}

// elements reads what is in an array or object, to its end.
func (r *jsonReader) elements(n *node, object bool, depth int) *fault {
	n.kind = nodeList
	if object {
		n.kind = nodeObject
	}
	for r.d.More() {
		if object {
			key, start, end, f := r.token()
			if f != nil {
				return f
			}
			name, _ := key.(string) // the decoder lets nothing else be a key
			n.keys = append(n.keys, node{kind: nodeText, start: start, end: end, text: name})
		}
		kid, f := r.value(depth + 1)
		n.end = kid.end
		if f != nil && kid.kind == nodeMissing {
			return f
		}
		n.kids = append(n.kids, kid)
		if f != nil {
			return f
		}
	}
	_, _, end, f := r.token()
	if f == nil {
		n.end = end
	}
	return f
}

// msgpackTree reads the MessagePack b from an offset to its end. With a fault the node has what was read before.
func msgpackTree(b []byte, from int) (node, *fault) {
	r := msgpackReader{b: b, at: from}
	n, f := r.value(0)
	if f == nil && r.at < len(b) {
		f = faultf(r.at, "the MessagePack has ended before this: %d more bytes", len(b)-r.at)
	}
	return n, f
}

type msgpackReader struct {
	b  []byte
	at int
}

func (r *msgpackReader) value(depth int) (n node, f *fault) {
	n = node{start: r.at, end: r.at}
	t, rest, err := mpack.Read(r.b[r.at:])
	if err != nil {
		if r.at >= len(r.b) {
			return n, faultf(r.at, "the MessagePack ends too early")
		}
		return n, faultf(r.at, "no MessagePack begins with 0x%02x here, or it ends too early", r.b[r.at])
	}
	r.at = len(r.b) - len(rest)
	n.end = r.at
	switch t.Kind {
	case mpack.Nil:
		n.kind, n.text = nodeNull, "null"
	case mpack.Bool:
		n.kind, n.text = nodeBool, strconv.FormatBool(t.Bool)
	case mpack.Uint, mpack.Int, mpack.Float:
		n.kind = nodeNumber
		n.text, _ = t.Text() // a number always has one
	case mpack.Str:
		n.kind, n.text = nodeText, string(t.Data)
		if at := invalidUTF8(t.Data); at >= 0 {
			return n, faultf(n.end-len(t.Data)+at, "this text is not UTF-8")
		}
	case mpack.Bin:
		n.kind, n.text = nodeBytes, fmt.Sprintf("%d bytes", len(t.Data))
	case mpack.Ext:
		n.kind, n.text = nodeExt, extension(&t)
	default:
		if depth == maxNesting {
			return n, faultf(n.start, "nested more than %d levels", maxNesting)
		}
		f = r.elements(&n, &t, depth)
	}
	return n, f
}

func extension(t *mpack.Token) string {
	if ms, ok := t.Millis(); ok {
		return fmt.Sprintf("a date, %d ms since 1970", ms)
	}
	if t.Undefined() {
		return "undefined"
	}
	return fmt.Sprintf("extension %d, %d bytes", t.Ext, len(t.Data))
}

func (r *msgpackReader) elements(n *node, t *mpack.Token, depth int) *fault {
	n.kind = nodeList
	if t.Kind == mpack.Map {
		n.kind = nodeObject
	}
	for range t.Len {
		if t.Kind == mpack.Map {
			key, f := r.value(depth + 1)
			if f == nil && key.kind != nodeText && key.kind != nodeNumber {
				f = faultf(key.start, "the key of an object is %s", key.kind)
			}
			if f != nil {
				return f
			}
			n.keys = append(n.keys, key)
		}
		kid, f := r.value(depth + 1)
		n.end = kid.end
		if f != nil && kid.kind == nodeMissing {
			return f
		}
		n.kids = append(n.kids, kid)
		if f != nil {
			return f
		}
	}
	n.end = r.at
	return nil
}
