package main

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/sockeye-io/sockeye/internal/rediswire"
)

// value reads JSON or MessagePack, whichever it is.
func (d *decoder) value() (node, *fault) {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		return jsonTree(d.b, 0)
	}
	return msgpackTree(d.b, 0)
}

func (d *decoder) classic() {
	n, f := d.value()
	if !d.whole(&n, f, classicScheme()) {
		return
	}
	m, err := rediswire.ParseBroadcast(d.b)
	if err == nil {
		_, err = m.Packet("")
	}
	d.refused(err)
}

func (d *decoder) request() {
	n, f := d.value()
	legacy := n.get("requestId").kind == nodeMissing && n.get("requestid").kind != nodeMissing
	if !d.whole(&n, f, requestScheme(legacy)) {
		return
	}
	_, err := rediswire.ParseRequest(d.b, "")
	d.refused(err)
}

func (d *decoder) response() {
	n, f := d.value()
	if !d.whole(&n, f, responseScheme()) {
		return
	}
	_, err := rediswire.ParseResponse(d.b)
	d.refused(err)
}

func (d *decoder) sharded() {
	n, f := d.value()
	if !d.whole(&n, f, messageScheme(n.get("type").text)) {
		return
	}
	_, err := rediswire.ParseMessage(d.b)
	d.refused(err)
}

func (d *decoder) control() {
	n, f := msgpackTree(d.b, 0)
	kind := ""
	if len(n.kids) > 1 {
		kind = n.kids[1].text
	}
	if !d.whole(&n, f, controlScheme(kind)) {
		return
	}
	_, err := rediswire.ParseControl(d.b)
	d.refused(err)
}

// stream takes an entry that is given as a JSON object.
func (d *decoder) stream() {
	n, f := jsonTree(d.b, 0)
	if !d.whole(&n, f, entryScheme()) {
		return
	}
	if n.kind != nodeObject {
		d.wrong(n.start, "an entry is an object with the fields uid, nsp, type and data")
		return
	}
	fields := make([]string, 0, 2*len(n.kids))
	for i := range n.kids {
		fields = append(fields, n.keys[i].text, n.kids[i].text)
	}
	d.entry(fields)
}

// fields takes an entry as Redis has it. The place of a field is its number.
func (d *decoder) fields(words [][]byte) {
	fields := make([]string, len(words))
	s := entryScheme()
	for i, w := range words {
		fields[i] = string(w)
		if i%2 == 1 {
			v := node{kind: nodeText, text: fields[i]}
			label := s[fields[i-1]].words
			if label == "" {
				label = cut(name(fields[i-1]), valueSize)
			}
			d.line(i/2, 0, w, label+": "+cut(quoted(fields[i]), valueSize)+nameOf(s[fields[i-1]], &v))
		}
	}
	if len(fields) == 0 || len(fields)%2 != 0 {
		d.wrong(len(fields)/2, "an entry is of fields with a value each")
		return
	}
	d.entry(fields)
}

// entry says what the data of an entry mean.
func (d *decoder) entry(fields []string) {
	kind, data := "", ""
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "type":
			kind = fields[i+1]
		case "data":
			data = fields[i+1]
		}
	}
	b, what := []byte(data), "data, which is JSON"
	if data != "" && data[0] != '{' {
		var err error
		what = "data, which is MessagePack in base64"
		if b, err = base64.StdEncoding.DecodeString(data); err != nil {
			d.wrong(0, "the data are neither a JSON object nor base64: %v", err)
			return
		}
	}
	ok := true
	if len(b) > 0 {
		d.inner(b, what, func() {
			n, f := d.value()
			ok = d.whole(&n, f, dataScheme(kind))
		})
	}
	if ok {
		_, err := rediswire.ParseEntry(fields)
		d.refused(err)
	}
}

// refused says why servers do not take a message that is well-formed.
func (d *decoder) refused(err error) {
	if err == nil || errors.Is(err, rediswire.ErrElsewhere) {
		return
	}
	d.wrong(0, "servers ignore this message: %s", strings.TrimPrefix(err.Error(), "rediswire: "))
}
