//go:build !unix

package load

import "time"

// usage is not known here.
func usage() (cpu time.Duration, peak int64) { return 0, 0 }
