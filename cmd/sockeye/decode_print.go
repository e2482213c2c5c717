package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// decoder writes what messages mean.
type decoder struct {
	out      *bytes.Buffer
	protocol int
	messages int
	bad      bool // something was wrong
	pending  int  // attachments that are still to come
	packets  bool // a packet has come

	b      []byte // the message, or the part of it that is encoded once more
	w      *tabwriter.Writer
	faulty bool // the message at hand
}

// begin starts with a message; flush ends it.
func (d *decoder) begin(kind string, size int, how string) {
	d.messages++
	what := kindNames[kind]
	switch {
	case what != "":
		what += " (" + kind + ")"
	case kind == "":
		what = "something"
	default:
		what = kind
	}
	fmt.Fprintf(d.out, "message %d: %s", d.messages, what)
	if size > 0 {
		fmt.Fprintf(d.out, ", %s", bytesOf(size))
	}
	fmt.Fprintf(d.out, "%s\n", how)
	d.faulty = false
	d.w = tabwriter.NewWriter(d.out, 6, 0, 2, ' ', 0)
}

func (d *decoder) flush() { _ = d.w.Flush() } // writes to a buffer

func bytesOf(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// maxIndent keeps the lines short of what is nested deeply.
const maxIndent = 24

// line says what a part of the message means.
func (d *decoder) line(at, depth int, part []byte, what string) {
	fmt.Fprintf(d.w, "  %d\t%s\t%s%s\n", at, sample(part), strings.Repeat("  ", min(depth, maxIndent)), what)
}

// wrong says what is wrong. The first fault of a message is the one that counts.
func (d *decoder) wrong(at int, format string, args ...any) {
	d.bad = true
	if d.faulty {
		return
	}
	d.faulty = true
	fmt.Fprintf(d.w, "  %d\t%s\twrong at %d: %s\n", at, "", at, harmless(fmt.Sprintf(format, args...)))
}

// inner goes on with bytes that stood encoded in the message, and whose places are counted from their own start.
func (d *decoder) inner(b []byte, what string, f func()) {
	d.flush()
	fmt.Fprintf(d.out, "  %s, %s\n", what, bytesOf(len(b)))
	outer := d.b
	d.b = b
	f()
	d.flush()
	d.b = outer
}

const sampleSize = 24

// sample shows bytes: as text where they are some, else in hexadecimal.
func sample(b []byte) string {
	if utf8.Valid(b) && !bytes.ContainsFunc(b, harmful) {
		return cut(string(b), sampleSize)
	}
	return cut(hex.EncodeToString(b[:min(len(b), sampleSize)]), sampleSize)
}

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-3]) + "..."
}

// quoted is a text as JSON writes it, without what a terminal would act on.
func quoted(s string) string {
	var b bytes.Buffer
	writeJSON(&b, s)
	return strings.TrimSuffix(b.String(), "\n")
}

const valueSize = 60

// tree says what the parts of a value mean.
func (d *decoder) tree(n *node, path, label string, depth int, s scheme) {
	m := s[path]
	if m.words != "" {
		label = m.words
	}
	part := d.b[n.start:n.end]
	switch n.kind {
	case nodeMissing:
		return
	case nodeList, nodeObject:
		d.line(n.start, depth, nil, fmt.Sprintf("%s: %s of %d", label, n.kind, len(n.kids)))
	case nodeText:
		d.line(n.start, depth, part, label+": "+cut(quoted(n.text), valueSize)+nameOf(m, n))
	default:
		d.line(n.start, depth, part, label+": "+n.text+nameOf(m, n))
	}
	if len(m.kinds) > 0 && !slices.Contains(m.kinds, n.kind) && (n.kind != nodeNull || m.must) {
		d.wrong(n.start, "this should be %s, not %s", m.kinds[0], n.kind)
	}
	for i := range n.kids {
		if i < len(n.keys) {
			d.tree(&n.kids[i], join2(path, n.keys[i].text), cut(name(n.keys[i].text), valueSize), depth+1, s)
			continue
		}
		d.tree(&n.kids[i], s.child(path, i), fmt.Sprintf("element %d", i), depth+1, s)
	}
}

func nameOf(m meaning, n *node) string {
	if m := m.names[n.text]; m != "" {
		return ", " + m
	}
	if m.names != nil {
		return ", which is unknown"
	}
	return ""
}

// whole says what a value means that is all of a message, or what is wrong with it.
func (d *decoder) whole(n *node, f *fault, s scheme) bool {
	d.tree(n, "", "value", 0, s)
	if f != nil {
		d.wrong(f.at, "%s", f.what)
		return false
	}
	d.required(n, "", s)
	return !d.faulty
}

// required looks for what must be there.
func (d *decoder) required(n *node, path string, s scheme) {
	if n.kind != nodeObject && n.kind != nodeList {
		return
	}
	for _, p := range s.requiredBelow(path) {
		key := strings.TrimPrefix(p[len(path):], ".")
		if n.kind == nodeObject && n.get(key).kind == nodeMissing {
			d.wrong(n.end, "%q is missing: %s", key, s[p].words)
		}
		if i, err := strconv.Atoi(key); n.kind == nodeList && err == nil && i >= len(n.kids) {
			d.wrong(n.end, "element %s is missing: %s", key, s[p].words)
		}
	}
	for i := range n.kids {
		next := s.child(path, i)
		if i < len(n.keys) {
			next = join2(path, n.keys[i].text)
		}
		d.required(&n.kids[i], next, s)
	}
}

// requiredBelow gives the paths of what a value must have, in order.
func (s scheme) requiredBelow(path string) []string {
	var all []string
	for p, m := range s {
		rest, ok := strings.CutPrefix(p, path)
		if path != "" {
			rest, ok = strings.CutPrefix(p, path+".")
		}
		if ok && m.must && rest != "" && rest != "*" && !strings.Contains(rest, ".") {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return all
}
