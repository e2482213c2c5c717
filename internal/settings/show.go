package settings

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes all settings as YAML, without secrets; comments say where each comes from.
func (s *Set) Print(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range s.keys {
		if e.parent != nil && e.path == "" || e.Secret && s.byName[e.Name+"-file"].path != "" {
			continue // of the two only the one that is used
		}
		at := root
		path := strings.Split(e.Name, ".")
		for _, section := range path[:len(path)-1] {
			at = child(at, section)
		}
		v, err := e.shown()
		if err != nil {
			return err
		}
		k := &yaml.Node{Kind: yaml.ScalarNode, Value: path[len(path)-1]}
		if from := s.From(e.Name); len(v.Content) > 0 {
			k.LineComment = from
		} else {
			v.LineComment = from
		}
		at.Content = append(at.Content, k, v)
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return err
	}
	return enc.Close()
}

// child gives the section of that name, the new one if there is none yet.
func child(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	c := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, c)
	return c
}

// shown is the value as it may be shown.
func (e *entry) shown() (*yaml.Node, error) {
	var v any
	switch into := e.Into.(type) {
	case *string:
		v = e.mask(*into)
	case *bool:
		v = *into
	case *int:
		v = *into
	case *float64:
		v = *into
	case *time.Duration:
		v = shortDuration(*into)
	case *Size:
		v = int64(*into)
	case *[]string:
		all := make([]string, 0, len(*into))
		for _, text := range *into {
			all = append(all, e.mask(text))
		}
		v = all
	case Unmarshaler:
		v = into.Show()
	}
	n := &yaml.Node{}
	if err := n.Encode(v); err != nil {
		return nil, fmt.Errorf("settings: %s: %w", e.Name, err)
	}
	return n, nil
}

func (e *entry) mask(text string) string {
	switch {
	case text == "":
		return ""
	case e.Secret:
		return Mask
	case e.URL:
		return MaskURL(text)
	}
	return text
}

// MaskURL hides the password of a URL, and the values of its query, which may have one.
func MaskURL(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return Mask
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, _, has := strings.Cut(authority[:i], ":")
		if has {
			user += ":" + Mask
		}
		authority = user + authority[i:]
	}
	if path, query, ok := strings.Cut(tail, "?"); ok {
		parts := strings.Split(query, "&")
		for i, p := range parts {
			if k, _, ok := strings.Cut(p, "="); ok && k != "db" {
				parts[i] = k + "=" + Mask
			}
		}
		tail = path + "?" + strings.Join(parts, "&")
	}
	return scheme + "://" + authority + tail
}

// Table writes the keys as tables of Markdown, one for each group.
func (s *Set) Table() string {
	var b strings.Builder
	group := ""
	for _, e := range s.keys {
		if e.parent != nil {
			continue
		}
		if e.Group != group {
			group = e.Group
			b.WriteString("\n### " + group + "\n\n| Key | Flag | Variable | Default | |\n|---|---|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s | %s |\n", e.Name, e.Flag, s.variables(e), e.defaults(), e.meaning())
	}
	return strings.TrimPrefix(b.String(), "\n")
}

func (s *Set) variables(e *entry) string {
	all := append([]string{s.variable(e)}, e.Variables...)
	return "`" + strings.Join(all, "`, `") + "`"
}

func (e *entry) defaults() string {
	if e.Default == "" {
		switch e.Into.(type) {
		case *bool:
			return "`false`"
		case *int, *Size, *float64, *time.Duration:
			return "`0`"
		}
		return ""
	}
	return "`" + e.Default + "`"
}

func (e *entry) meaning() string {
	text := strings.ReplaceAll(e.usage(), "|", "\\|")
	if e.Secret {
		text += "; secret, see `" + e.Name + "-file`"
	}
	if len(e.Choices) == 0 {
		switch e.Into.(type) {
		case *[]string:
			text += "; a list"
		case Unmarshaler:
			text += "; see below"
		}
	}
	return text
}

// suggest gives the nearest of some names, as the end of a sentence; "" if none is near: of the letters of a name one,
// and one in four, may be wrong. All the names begin with prefix, which counts for nothing.
func suggest(name, prefix string, names []string) string {
	best, distance := "", 2+min(2, (len(name)-len(prefix))/4)
	for _, n := range names {
		if d := far(name, n); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		for _, n := range names {
			if strings.HasSuffix(n, strings.TrimPrefix(name, prefix)) || strings.HasSuffix(name, strings.TrimPrefix(n, prefix)) {
				best = n
			}
		}
	}
	if best == "" {
		return ""
	}
	return "; is it " + best + "?"
}

// far counts the letters to change between two names.
func far(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = min(last, row[j], row[j+1]) + 1
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// fromKubernetes tells whether a variable is one of those that Kubernetes makes of each service of a namespace: of one
// that is called "sockeye" they begin as the settings do.
func fromKubernetes(name, value string) bool {
	if strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") {
		return true
	}
	if strings.HasSuffix(name, "_PORT") {
		return strings.Contains(value, "://")
	}
	_, rest, ok := strings.Cut(name, "_PORT_")
	if !ok {
		return false
	}
	parts := strings.Split(rest, "_")
	if _, err := strconv.ParseUint(parts[0], 10, 16); err != nil || len(parts) < 2 || len(parts) > 3 {
		return false
	}
	return slices.Contains([]string{"TCP", "UDP", "SCTP"}, parts[1])
}
