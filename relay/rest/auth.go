package rest

import (
	"container/list"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// authenticate finds the token of a request. It takes as long whatever the token is.
func (h *Handler) authenticate(r *http.Request) (*token, *problem) {
	kind, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	found := -1
	for i := range h.tokens {
		same := subtle.ConstantTimeCompare(sum[:], h.tokens[i].hash[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if strings.EqualFold(kind, "Bearer") && found >= 0 {
		return &h.tokens[found], nil
	}
	// One program with an old token must not keep out another one at the same address, so that only wrong ones are counted.
	// Secrets have 16 characters and more, which nobody guesses, however many are tried.
	if !h.failures.allow(h.c.Address(r), time.Now()) {
		return nil, newProblem("too_many_failures", "").wait(60)
	}
	return nil, newProblem("unauthorized", "")
}

const (
	failureBurst = 10 // at once
	failureEvery = 6 * time.Second
	maxAddresses = 10_000
)

// failures count wrong tokens by address, in buckets that fill again. Addresses that were not seen for long go first.
type failures struct {
	mu     sync.Mutex
	byName map[string]*list.Element // of *bucket
	recent *list.List               // the last one first
}

type bucket struct {
	name   string
	left   int
	filled time.Time
}

func newFailures() *failures {
	return &failures{byName: make(map[string]*list.Element), recent: list.New()}
}

// allow takes one out of the bucket of an address.
func (f *failures) allow(address string, now time.Time) bool {
	name := network(address)
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.byName[name]
	if !ok {
		if f.recent.Len() >= maxAddresses {
			if old, ok := f.recent.Remove(f.recent.Back()).(*bucket); ok {
				delete(f.byName, old.name)
			}
		}
		e = f.recent.PushFront(&bucket{name: name, left: failureBurst, filled: now})
		f.byName[name] = e
	}
	f.recent.MoveToFront(e)
	b, _ := e.Value.(*bucket) // nothing else is put in
	if n := int(now.Sub(b.filled) / failureEvery); n > 0 {
		b.left = min(failureBurst, b.left+n)
		b.filled = now
	}
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}

// network is what is counted for an address: of IPv6 the network of 64 bits, as one host has all of that.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}
