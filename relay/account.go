package relay

import (
	"encoding/json"
	"math"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/relay/identity"
)

// account is what is known of who a socket speaks for. It is the data of the socket, so that FetchSockets gives its
// profile on every server.
type account struct {
	mu    sync.Mutex
	user  identity.User
	name  string // that it has given itself, or the user's; "" while it takes no part in "who is here"
	timer *time.Timer
	ended bool

	// Renewals are a bucket of few tokens: a signature costs the server more than the client.
	renewals int
	filled   time.Time
}

// profile is what others are told.
type profile struct {
	Name string `json:"name,omitempty"`
	User string `json:"user,omitempty"`
}

// accountOf gives the account of a socket that the middleware has let in.
func accountOf(s *sockeye.Socket) *account {
	if a, ok := s.Data().(*account); ok {
		return a
	}
	return new(account)
}

func (a *account) profile() profile {
	a.mu.Lock()
	defer a.mu.Unlock()
	return profile{a.name, a.user.ID}
}

func (a *account) who() identity.User {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.user
}

// MarshalJSON gives the profile.
func (a *account) MarshalJSON() ([]byte, error) { return json.Marshal(a.profile()) }

func (a *account) rename(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.name = name
}

const (
	renewBurst = 5
	renewEvery = time.Second
)

// mayRenew takes one token out of the bucket.
func (a *account) mayRenew(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.filled.IsZero() {
		a.renewals, a.filled = renewBurst, now
	}
	if n := int(now.Sub(a.filled) / renewEvery); n > 0 {
		a.renewals = min(renewBurst, a.renewals+n)
		a.filled = now
	}
	if a.renewals == 0 {
		return false
	}
	a.renewals--
	return true
}

// arm has f called after a time, unless it is armed again or the socket ends before.
func (a *account) arm(wait time.Duration, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	if !a.ended && wait != forever {
		a.timer = time.AfterFunc(wait, f)
	}
}

// forever is the time that is left to who does not expire.
const forever = time.Duration(math.MaxInt64)

// left is the time until the user expires.
func (a *account) left() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.user.Expires.IsZero() {
		return forever
	}
	return time.Until(a.user.Expires)
}

// end stops the timer for good.
func (a *account) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}
