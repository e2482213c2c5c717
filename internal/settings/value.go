package settings

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mask stands for what is not shown.
const Mask = "******"

// secretBytes bounds the file of a secret.
const secretBytes = 64 << 10

var errMasked = errors.New("it is masked, as --print-config shows it: put the secret there")

// set sets the value that one text, or for a list several, have; zero sets the zero value.
func (e *entry) set(texts []string, zero bool) error {
	last := ""
	if len(texts) > 0 {
		last = texts[len(texts)-1]
	}
	if u, ok := e.Into.(Unmarshaler); ok {
		if zero {
			return nil
		}
		n, err := parseNode(last)
		if err != nil {
			return err
		}
		return u.UnmarshalSetting(n)
	}
	if into, ok := e.Into.(*[]string); ok {
		*into = nil
		if zero {
			return nil
		}
		if e.Secret && slices.Contains(texts, Mask) {
			return errMasked
		}
		*into = texts
		return e.allowed(*into...)
	}
	if zero {
		e.clear()
		return nil
	}
	if last == Mask && (e.Secret || e.URL) {
		return errMasked
	}
	return e.parse(last)
}

func (e *entry) clear() {
	switch into := e.Into.(type) {
	case *string:
		*into = ""
	case *bool:
		*into = false
	case *int:
		*into = 0
	case *float64:
		*into = 0
	case *time.Duration:
		*into = 0
	case *Size:
		*into = 0
	}
}

func (e *entry) parse(text string) error {
	switch into := e.Into.(type) {
	case *string:
		*into = text
		return e.allowed(text)
	case *bool:
		switch text {
		case "true", "false":
			*into = text == "true"
			return nil
		}
		return e.fault(text, "neither true nor false")
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return e.fault(text, "not a whole number")
		}
		*into = n
		return e.within(text, int64(n), func(n int64) string { return strconv.FormatInt(n, 10) })
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return e.fault(text, "not a number")
		}
		*into = f
		return nil
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return e.fault(text, "not a duration, such as 500ms, 10s or 2m")
		}
		*into = d
		return e.within(text, int64(d), func(n int64) string { return shortDuration(time.Duration(n)) })
	case *Size:
		n, ok := parseSize(text)
		if !ok {
			return e.fault(text, "not a size, such as 65536, 64KiB or 1MB")
		}
		*into = Size(n)
		return e.within(text, n, func(n int64) string { return strconv.FormatInt(n, 10) })
	}
	return fmt.Errorf("a setting cannot be a %T", e.Into)
}

// fault says what is wrong with a value, which is left out if it is secret.
func (e *entry) fault(text, what string) error {
	if e.Secret || e.URL {
		return errors.New("the value is " + what)
	}
	if len(text) > 100 {
		text = text[:100] + "..."
	}
	return fmt.Errorf("%q is %s", text, what)
}

func (e *entry) allowed(texts ...string) error {
	if len(e.Choices) == 0 {
		return nil
	}
next:
	for _, text := range texts {
		for _, c := range e.Choices {
			if text == c {
				continue next
			}
		}
		return e.fault(text, "none of "+strings.Join(e.Choices, ", "))
	}
	return nil
}

func (e *entry) within(text string, n int64, show func(int64) string) error {
	if e.Min == 0 && e.Max == 0 || n >= e.Min && (n <= e.Max || e.Max == 0) {
		return nil
	}
	if e.Max == 0 {
		return e.fault(text, "below "+show(e.Min))
	}
	return e.fault(text, "not from "+show(e.Min)+" to "+show(e.Max))
}

// split cuts the texts of a list at commas, or of a list of secrets, which may have commas in them, into lines.
func (e *entry) split(texts ...string) []string {
	if _, list := e.Into.(*[]string); !list {
		return texts
	}
	separator := ","
	if e.Secret {
		separator = "\n"
	}
	var all []string
	for _, text := range texts {
		for part := range strings.SplitSeq(text, separator) {
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
	}
	return all
}

var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

func parseSize(text string) (n int64, ok bool) {
	for _, u := range units {
		if number, found := strings.CutSuffix(text, u.name); found {
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			if err != nil || n < 0 || n > (1<<62)/u.bytes {
				return 0, false
			}
			return n * u.bytes, true
		}
	}
	return 0, false
}

// shortDuration is 2m, not 2m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// readSecret reads the file that e names into the key that it is for.
func (e *entry) readSecret() error {
	info, err := os.Stat(e.path)
	if err == nil && info.Size() > secretBytes {
		return fmt.Errorf("%s: the file is larger than %d bytes", e.from, secretBytes)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(e.path) // the operator's choice
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.from, err)
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return fmt.Errorf("%s: %s is empty", e.from, e.path)
	}
	return e.parent.take(e.parent.split(text), e.layer, e.from)
}
