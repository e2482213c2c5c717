package settings

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// flagValue implements pflag.Value: it keeps what is given, which is looked at by Load.
type flagValue struct {
	e     *entry
	texts []string
}

// String implements pflag.Value; it is shown as the default.
func (v *flagValue) String() string {
	if v.e == nil {
		return ""
	}
	return v.e.Default
}

// Set implements pflag.Value.
func (v *flagValue) Set(text string) error {
	if _, ok := v.e.Into.(*[]string); !ok {
		v.texts = nil
	}
	v.texts = append(v.texts, text)
	return nil
}

// Type implements pflag.Value.
func (v *flagValue) Type() string { return v.e.kind() }

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

// Flags adds a flag for each key.
func (s *Set) Flags(fs *pflag.FlagSet) {
	for _, e := range s.keys {
		e.flag.e = e
		f := fs.VarPF(&e.flag, e.Flag, "", e.usage())
		if _, ok := e.Into.(*bool); ok {
			f.NoOptDefVal = "true"
		}
	}
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
