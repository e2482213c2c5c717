package load

import (
	"os"
	"strconv"
	"strings"
)

// machine gives the time that all processors of this machine were busy, and all their time, in ticks.
func machine() (busy, all float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(strings.TrimPrefix(first, "cpu")) {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil || i >= 8 {
			break // times of guests are in those of users already
		}
		all += n
		if i != 3 && i != 4 { // idle, and waiting for disks
			busy += n
		}
	}
	return busy, all
}
