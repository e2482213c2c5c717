package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileBytes bounds the file of settings.
const fileBytes = 1 << 20

// Node is a piece of YAML.
type Node struct{ *yaml.Node }

// Strict decodes the piece into v, a pointer; keys that v does not have are faults.
func (n *Node) Strict(v any) error {
	b, err := yaml.Marshal(n.Node)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	return plain(d.Decode(v))
}

// plain makes one line of an error of the YAML library, without names of Go types.
func plain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if te, ok := errors.AsType[*yaml.TypeError](err); ok && len(te.Errors) > 0 {
		text = te.Errors[0]
		if _, after, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(text, "line ") {
			text = after // of the piece, not of the file
		}
	}
	text = strings.TrimPrefix(text, "yaml: ")
	text, _, _ = strings.Cut(text, " in type ")
	if name, ok := strings.CutSuffix(text, " not found"); ok && strings.HasPrefix(name, "field ") {
		text = "there is no key " + name[len("field "):]
	}
	if strings.HasPrefix(text, "cannot unmarshal") { // what follows is the value, which may be secret
		text = "a value in it is of the wrong kind"
	}
	return errors.New(strings.ReplaceAll(text, "\n", " "))
}

// parseNode reads the text of a flag or variable.
func parseNode(text string) (*Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, plain(err)
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("there is nothing in it")
	}
	return &Node{doc.Content[0]}, checkNode(doc.Content[0])
}

// checkNode finds what is not allowed anywhere: names that stand for something else, and keys that are there twice.
func checkNode(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not allowed", n.Line)
	case n.Kind == yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			if seen[k.Value] {
				return fmt.Errorf("line %d: %s is there twice", k.Line, k.Value)
			}
			seen[k.Value] = true
		}
	}
	for _, c := range n.Content {
		if err := checkNode(c); err != nil {
			return err
		}
	}
	return nil
}

// loadFile reads the file for what nothing stronger has said.
func (s *Set) loadFile(path string) error {
	b, err := readFile(path)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // an empty file says nothing
	} else if err != nil {
		return lined(path, plain(err))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: there is more than one document in it", path)
	}
	if err := checkNode(doc.Content[0]); err != nil {
		return lined(path, err)
	}
	return s.section(path, "", doc.Content[0])
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) // the operator's choice
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	b, err := io.ReadAll(io.LimitReader(f, fileBytes+1))
	if err == nil && len(b) > fileBytes {
		err = fmt.Errorf("%s: the file is larger than %d bytes", path, fileBytes)
	}
	return b, err
}

// lined puts the file before "line N: ...", as FILE:N: ...
func lined(path string, err error) error {
	if rest, ok := strings.CutPrefix(err.Error(), "line "); ok {
		return fmt.Errorf("%s:%s", path, rest)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// section reads a mapping whose keys begin with prefix.
func (s *Set) section(path, prefix string, n *yaml.Node) error {
	at := func(n *yaml.Node, name string) string { return fmt.Sprintf("%s:%d: %s", path, n.Line, name) }
	if n.Kind != yaml.MappingNode {
		if prefix == "" {
			return fmt.Errorf("%s:%d: settings are lines such as addr: 127.0.0.1:3000", path, n.Line)
		}
		return fmt.Errorf("%s has settings of its own below it", at(n, strings.TrimSuffix(prefix, ".")))
	}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := prefix + k.Value
		e := s.byName[name]
		if e == nil {
			if !s.hasSection(name) {
				return fmt.Errorf("%s: there is no such setting%s", at(k, name), suggest(name, "", sorted(s.byName)))
			}
			if err := s.section(path, name+".", v); err != nil {
				return err
			}
			continue
		}
		if err := e.fromNode(v, at(k, name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) hasSection(name string) bool {
	for _, e := range s.keys {
		if strings.HasPrefix(e.Name, name+".") {
			return true
		}
	}
	return false
}

// fromNode takes the value of a key from a piece of the file, which is checked even if something stronger is there.
func (e *entry) fromNode(n *yaml.Node, from string) error {
	if u, ok := e.Into.(Unmarshaler); ok {
		if e.given(byFile) {
			return nil
		}
		if err := u.UnmarshalSetting(&Node{n}); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		e.from, e.layer = from, byFile
		return nil
	}
	var texts []string
	switch _, list := e.Into.(*[]string); {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		texts = e.split(n.Value)
	case n.Kind == yaml.ScalarNode:
		return fmt.Errorf("%s: it has no value", from)
	case list && n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode || c.Tag == "!!null" {
				return fmt.Errorf("%s: its elements must be plain text", from)
			}
			texts = append(texts, c.Value)
		}
	case list:
		return fmt.Errorf("%s: it must be a list", from)
	default:
		return fmt.Errorf("%s: it must be one value", from)
	}
	if e.given(byFile) {
		probe := *e
		probe.Into = fresh(e.Into)
		return probe.take(texts, byFile, from)
	}
	return e.take(texts, byFile, from)
}
