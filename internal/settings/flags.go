package settings

import (
	"strings"
	"time"
)

// FlagValue is the value of a flag, for package flag and for those that are like it. It keeps what is given, which Load
// looks at.
type FlagValue struct {
	e     *entry
	texts []string
}

// Flag is a flag for one key.
type Flag struct {
	Name, Usage string
	Value       *FlagValue
}

// String is the default.
func (v *FlagValue) String() string {
	if v.e == nil {
		return ""
	}
	return v.e.Default
}

// Set keeps a text. For what is no list the last one holds.
func (v *FlagValue) Set(text string) error {
	if _, ok := v.e.Into.(*[]string); !ok {
		v.texts = nil
	}
	v.texts = append(v.texts, text)
	return nil
}

// Type says in one word what values look like.
func (v *FlagValue) Type() string { return v.e.kind() }

// IsBoolFlag tells whether the flag may be given without a value.
func (v *FlagValue) IsBoolFlag() bool {
	_, ok := v.e.Into.(*bool)
	return ok
}

// kind says in one word what values look like.
func (e *entry) kind() string {
	switch e.Into.(type) {
	case *bool:
		return "bool"
	case *int, *float64:
		return "number"
	case *time.Duration:
		return "duration"
	case *Size:
		return "size"
	case *[]string:
		return "list"
	case Unmarshaler:
		return "yaml"
	}
	if e.parent != nil {
		return "file"
	}
	if e.URL {
		return "url"
	}
	return "string"
}

// Flags gives a flag for each key.
func (s *Set) Flags() []Flag {
	flags := make([]Flag, len(s.keys))
	for i, e := range s.keys {
		e.flag.e = e
		flags[i] = Flag{e.Flag, e.usage(), &e.flag}
	}
	return flags
}

func (e *entry) usage() string {
	text := e.Help
	if len(e.Choices) > 0 {
		text += ": " + strings.Join(e.Choices, ", ")
	}
	if e.Unit != "" {
		text += " (" + e.Unit + ")"
	}
	return text
}

func (s *Set) loadFlags() error {
	for _, e := range s.keys {
		if e.flag.texts == nil {
			continue
		}
		if err := e.take(e.split(e.flag.texts...), byFlag, "--"+e.Flag); err != nil {
			return err
		}
	}
	return nil
}

// fresh gives a new place of the same type.
func fresh(into any) any {
	switch into.(type) {
	case *bool:
		return new(bool)
	case *int:
		return new(int)
	case *float64:
		return new(float64)
	case *time.Duration:
		return new(time.Duration)
	case *Size:
		return new(Size)
	case *[]string:
		return new([]string)
	}
	return new(string)
}
