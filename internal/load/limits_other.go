//go:build !unix

package load

// Files is not known here.
func Files() int { return 0 }
