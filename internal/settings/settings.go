// Package settings reads the settings of a program from flags, from the environment and from a YAML file, in that order
// of precedence, by one table in which each setting is named once.
//
// Not in this package: what the settings mean (cmd/sockeye).
package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Key is one setting.
type Key struct {
	// Name is the path in the file, with a dot between section and key, as in "tls.cert".
	Name string

	// Flag is the name of the flag, and the end of the variable; default: Name with dashes for dots.
	Flag string

	// Into is where the value goes. Its type says what a value looks like: *string, *bool, *int, *float64,
	// *time.Duration, *Size, *[]string, or an [Unmarshaler].
	Into any

	// Default is the value without any setting, as text; "" = the zero value. Elements of a list are separated by commas.
	Default string

	// Help says what it is for, in a few words and without a period; Unit what numbers count.
	Help, Unit string

	// Choices are the values that a string may have. Empty: any.
	Choices []string

	// Min and Max bound numbers, durations (in nanoseconds) and sizes, where they are not both 0.
	Min, Max int64

	// Secret values are never shown. They may be given by a file: its name is the value of Name+"-file". A list of them is
	// not cut at commas, but at the ends of lines.
	Secret bool

	// URL values are shown without their password.
	URL bool

	// Check finds faults that the type does not. Its error must not have the value in it if that is secret.
	Check func() error

	// Variables are further variables, weaker than the one of the table, that Derive makes a value of. from names those
	// that it was made of; "" as text: they say nothing.
	Variables []string
	Derive    func(get func(name string) string) (text, from string, err error)

	// Group is the heading under which the key is documented.
	Group string
}

// Size is a number of bytes: 1048576, 1024KiB, 1MiB, 1MB = 1000000.
type Size int64

// Unmarshaler is a setting with a structure of its own. It is given what the file has at its place, or the text of a
// flag or variable read as YAML.
type Unmarshaler interface {
	// UnmarshalSetting replaces the value. Faults name the path below the key.
	UnmarshalSetting(n *Node) error

	// Show gives the value as it may be shown, without secrets: nil, strings, numbers, bools, and slices and maps of them.
	Show() any
}

// Set is a table of keys with their values. It is not safe for concurrent use.
type Set struct {
	prefix string // of variables
	keys   []*entry
	byName map[string]*entry
	byFlag map[string]*entry
}

// layer is how weak a source is.
type layer uint8

const (
	byDefault layer = iota
	byFlag
	byVariable
	byFile
)

// entry is a Key with what was found for it.
type entry struct {
	Key
	from   string // "" = default
	layer  layer  // likewise
	flag   FlagValue
	parent *entry // the key that the file named here is for
	path   string // of the file, if parent is set
	file   *entry // the other way round
}

// New makes a set of keys, whose variables begin with prefix. The names of keys are those of the program, so that faults
// in them are found by its tests: New fails with the first.
func New(prefix string, keys []Key) (*Set, error) {
	s := &Set{prefix: prefix, byName: map[string]*entry{}, byFlag: map[string]*entry{}}
	for _, k := range keys {
		if k.Flag == "" {
			k.Flag = strings.ReplaceAll(k.Name, ".", "-")
		}
		if err := s.add(&entry{Key: k}); err != nil {
			return nil, err
		}
		if !k.Secret {
			continue
		}
		e := s.byName[k.Name]
		f := &entry{parent: e, Key: Key{
			Name: k.Name + "-file", Flag: k.Flag + "-file", Group: k.Group, Help: "file that --" + k.Flag + " is read from",
		}}
		f.Into = &f.path
		e.file = f
		if err := s.add(f); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) add(e *entry) error {
	if s.byName[e.Name] != nil || s.byFlag[e.Flag] != nil {
		return fmt.Errorf("settings: %s is there twice", e.Name)
	}
	if err := e.set(e.split(e.Default), e.Default == ""); err != nil {
		return fmt.Errorf("settings: default of %s: %w", e.Name, err)
	}
	s.keys = append(s.keys, e)
	s.byName[e.Name], s.byFlag[e.Flag] = e, e
	return nil
}

// From says where the value of a key comes from: "default", a flag, a variable, or the file and line.
func (s *Set) From(name string) string {
	e := s.byName[name]
	if e == nil {
		return ""
	}
	return cmp.Or(e.from, "default")
}

// IsSet tells whether anything but the default says what the value of a key is.
func (s *Set) IsSet(name string) bool {
	e := s.byName[name]
	return e != nil && e.from != ""
}

// variable is the name of the variable of a key.
func (s *Set) variable(e *entry) string {
	name := s.prefix + strings.ToUpper(strings.ReplaceAll(e.Flag, "-", "_"))
	return name
}

// Load reads the environment, given as "NAME=value", and then the file, if path is not empty, for what the flags do not
// say. The flags must have been parsed. Errors are one line that says where the fault is, and what is allowed there.
func (s *Set) Load(environ []string, path string) error {
	env := map[string]string{}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" {
			env[name] = value
		}
	}
	if err := s.loadFlags(); err != nil {
		return err
	}
	if err := s.loadEnv(env); err != nil {
		return err
	}
	if path != "" {
		if err := s.loadFile(path); err != nil {
			return err
		}
	}
	return s.finish()
}

// finish reads the files that are named for secrets, and makes the last checks.
func (s *Set) finish() error {
	for _, e := range s.keys {
		if e.parent == nil || e.path == "" {
			continue
		}
		if e.parent.from != "" {
			return fmt.Errorf("%s and %s are both given: one is enough", e.parent.from, e.from)
		}
		if err := e.readSecret(); err != nil {
			return err
		}
	}
	for _, e := range s.keys {
		if e.Check == nil {
			continue
		}
		if err := e.Check(); err != nil {
			if e.from == "" {
				return fmt.Errorf("--%s: %w", e.Flag, err)
			}
			return fmt.Errorf("%s: %w", e.from, err)
		}
	}
	return nil
}

func (s *Set) loadEnv(env map[string]string) error {
	known := map[string]bool{s.prefix + "CONFIG": true}
	for _, e := range s.keys {
		known[s.variable(e)] = true
	}
	for _, name := range sorted(env) {
		if strings.HasPrefix(name, s.prefix) && !known[name] && !fromKubernetes(name, env[name]) {
			return fmt.Errorf("%s: there is no such setting%s", name, suggest(name, s.prefix, sorted(known)))
		}
	}
	for _, e := range s.keys {
		if e.given(byVariable) {
			continue
		}
		name := s.variable(e)
		if text := env[name]; text != "" {
			if err := e.take(e.split(text), byVariable, name); err != nil {
				return err
			}
			continue
		}
		if e.Derive == nil {
			continue
		}
		text, from, err := e.Derive(func(name string) string { return env[name] })
		if err != nil {
			return err
		}
		if text == "" {
			continue
		}
		if err := e.take(e.split(text), byVariable, from); err != nil {
			return err
		}
	}
	return nil
}

// given tells whether something stronger than l has said what the value is: for the key itself, or by a file.
func (e *entry) given(l layer) bool {
	for _, other := range []*entry{e.parent, e.file} {
		if other != nil && other.from != "" && other.layer < l {
			return true
		}
	}
	return e.from != ""
}

// take sets the value that a flag, a variable or a line says.
func (e *entry) take(texts []string, l layer, from string) error {
	if err := e.set(texts, false); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	e.from, e.layer = from, l
	return nil
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
