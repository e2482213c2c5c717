//go:build !unix

package front

// MaxFiles is how many files the process may have open, 0 if that is not known.
func MaxFiles() int { return 0 }
