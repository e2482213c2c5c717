package jsonscan

// Lengths appends to dst how many elements or members each array and object of b has, in the order in which
// they begin. b must be valid JSON. Those in skip, which are placeholders of b, do not count as objects.
func Lengths(dst []int, b []byte, skip []Placeholder) []int {
	var room [64]int
	open := room[:0] // indexes in dst; -1-index until the first element or key
	for i := 0; i < len(b); {
		c := b[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			i++
			continue
		case ']', '}':
			open = open[:len(open)-1]
			i++
			continue
		case ',':
			if top := open[len(open)-1]; top >= 0 {
				dst[top]++
			}
			i++
			continue
		case ':':
			i++
			continue
		}
		if n := len(open); n > 0 && open[n-1] < 0 {
			open[n-1] = -1 - open[n-1]
			dst[open[n-1]] = 1
		}
		switch {
		case len(skip) > 0 && skip[0].Start == i:
			i, skip = skip[0].End, skip[1:]
		case c == '[' || c == '{':
			open = append(open, -1-len(dst))
			dst = append(dst, 0)
			i++
		default:
			i = ScalarEnd(b, i)
		}
	}
	return dst
}
