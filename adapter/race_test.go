//go:build race

package adapter

// poolMisses is how many allocations a run may need: with the race detector sync.Pool forgets at random, so
// that a selection has to grow its buffer again.
const poolMisses = 40
