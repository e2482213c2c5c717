package parser

import (
	stdjson "encoding/json"
	"reflect"
	"strconv"

	"github.com/sockeye-io/sockeye/internal/jsonscan"
)

// anyDecoder makes Go values of valid JSON, with copies of attachments in the place of placeholders. Its recursion
// is as deep as the JSON, whose depth has been checked.
type anyDecoder struct {
	b   []byte
	i   int
	ph  []jsonscan.Placeholder // those in b from i on that stand for attachments
	bin [][]byte
}

func (d *anyDecoder) space() byte {
	for {
		switch c := d.b[d.i]; c {
		case ' ', '\t', '\r', '\n', ',', ':': // the separators say nothing in valid JSON
			d.i++
		default:
			return c
		}
	}
}

func (d *anyDecoder) value() (any, error) {
	c := d.space()
	if len(d.ph) > 0 && d.ph[0].Start == d.i {
		b := d.bin[d.ph[0].Num]
		d.i, d.ph = d.ph[0].End, d.ph[1:]
		return append(make([]byte, 0, len(b)), b...), nil
	}
	switch c {
	case '{':
		return d.object()
	case '[':
		return d.array()
	}
	lit := d.scalar()
	switch c {
	case '"':
		return string(jsonscan.Unquoted(lit)), nil
	case 't', 'f':
		return c == 't', nil
	case 'n':
		return nil, nil
	}
	f, err := strconv.ParseFloat(string(lit), 64)
	if err != nil {
		return nil, &stdjson.UnmarshalTypeError{Value: "number", Type: reflect.TypeFor[float64](), Offset: int64(d.i)}
	}
	return f, nil
}

func (d *anyDecoder) scalar() []byte {
	from := d.i
	d.i = jsonscan.ScalarEnd(d.b, from)
	return d.b[from:d.i]
}

func (d *anyDecoder) array() (any, error) {
	d.i++
	list := []any{}
	for d.space() != ']' {
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	d.i++
	return list, nil
}

func (d *anyDecoder) object() (any, error) {
	d.i++
	m := map[string]any{}
	for d.space() != '}' {
		key := string(jsonscan.Unquoted(d.scalar()))
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		m[key] = v
	}
	d.i++
	return m, nil
}
