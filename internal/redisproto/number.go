package redisproto

import (
	"math"
	"strconv"
)

// Number writes a number as Redis does where it gives a text in its place.
func Number(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	default:
		return strconv.FormatFloat(f, 'g', 17, 64)
	}
}
