//go:build !race

package adapter

const poolMisses = 1
