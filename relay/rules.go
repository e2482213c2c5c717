package relay

import (
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/relay/identity"
)

// Who says who may do something in a room.
type Who string

// The values of [Who].
const (
	Anybody Who = "any"   // also who is anonymous
	Users   Who = "user"  // who is known, and has the values that the rule's pattern asks for
	Claimed Who = "claim" // who, beside that, has a pattern of the room among the rooms of the token: see [identity.User]
	Nobody  Who = "none"  // only the REST interface, emitters and other servers
)

func (w Who) valid() bool { return w == Anybody || w == Users || w == Claimed || w == Nobody }

// Rule says what clients may do in the rooms whose names its pattern matches.
type Rule struct {
	// Rooms is the pattern. "*" stands for any run of characters, "{user}" for the id of the user, and any other name in
	// braces for a value of the claim of that name: "private:{user}", "org:{org}:*". A room that would match with another
	// user's id or value falls under the rule, too, and is refused.
	Rooms string

	// Join says who may join such a room, Publish which of its members may publish in it. "" is what [Rules.Default] says.
	Join, Publish Who

	// Hidden switches "who is here" off.
	Hidden bool
}

// Rules say what clients may do in rooms: the first rule whose pattern matches holds. They do not bind the REST interface
// and emitters.
type Rules struct {
	// List are the rules, at most 1,000, in the order in which they are asked.
	List []Rule

	// Default is for rooms that no rule matches, and for what a rule leaves open: for joining and for publishing. "" means
	// [Anybody] where Config.Identity is nil, and [Claimed] else.
	Default Who

	// Everyone says who may send the events "message" and "msg", which go to all clients: [Anybody], [Users] or [Nobody]. ""
	// means [Anybody] where Config.Identity is nil, and [Nobody] else.
	Everyone Who
}

const maxRules = 1000

// rules are [Rules] that were checked, with the defaults in them.
type rules struct {
	list     []rule
	last     rule // where none of list matches
	everyone Who
}

type rule struct {
	pattern       pattern
	join, publish Who
	hidden        bool
}

// permission is one of the things that a rule is about.
type permission int

const (
	toJoin permission = iota
	toPublish
)

func compile(r Rules, open bool) (*rules, error) {
	if r.Default == "" {
		r.Default = Claimed
		if open {
			r.Default = Anybody
		}
	}
	if r.Everyone == "" {
		r.Everyone = Nobody
		if open {
			r.Everyone = Anybody
		}
	}
	var faults []error
	check := func(what string, w *Who) {
		if *w == "" {
			*w = r.Default
		}
		if !w.valid() {
			faults = append(faults, fmt.Errorf("relay: %s: %q is none of any, user, claim, none", what, string(*w)))
		}
	}
	check("rooms by default", &r.Default)
	if r.Everyone == Claimed || !r.Everyone.valid() {
		faults = append(faults, fmt.Errorf("relay: messages to everyone: %q is none of any, user, none", string(r.Everyone)))
	}
	if len(r.List) > maxRules {
		faults = append(faults, fmt.Errorf("relay: more than %d rules of rooms", maxRules))
	}
	c := &rules{last: rule{pattern{[]part{{any: true}}}, r.Default, r.Default, false}, everyone: r.Everyone}
	for i, rl := range r.List {
		check(fmt.Sprintf("rule %d of rooms: join", i+1), &rl.Join)
		check(fmt.Sprintf("rule %d of rooms: publish", i+1), &rl.Publish)
		p, err := parsePattern(rl.Rooms)
		if err != nil {
			faults = append(faults, fmt.Errorf("relay: rule %d of rooms: %q: %w", i+1, rl.Rooms, err))
			continue
		}
		c.list = append(c.list, rule{p, rl.Join, rl.Publish, rl.Hidden})
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c, nil
}

// find gives the rule for a room.
func (r *rules) find(room string) *rule {
	for i := range r.list {
		if r.list[i].pattern.match(room, nil) {
			return &r.list[i]
		}
	}
	return &r.last
}

// allows tells whether a user may do something in a room.
func (r *rules) allows(u identity.User, room string, p permission) bool {
	rl := r.find(room)
	w := rl.join
	if p == toPublish {
		w = rl.publish
	}
	switch w {
	case Anybody: // a rule that names somebody does not do so for nothing
		return rl.fits(u, room)
	case Users:
		return !u.Anonymous() && rl.fits(u, room)
	case Claimed:
		return !u.Anonymous() && rl.fits(u, room) && claimed(u, room)
	case Nobody:
	}
	return false
}

// fits tells whether what stands in braces is the user's.
func (rl *rule) fits(u identity.User, room string) bool {
	return rl.pattern.match(room, func(name string) []string {
		if name == "user" {
			return []string{u.ID}
		}
		return u.Claims[name]
	})
}

func claimed(u identity.User, room string) bool {
	for _, s := range u.Rooms {
		if matchGlob(s, room) {
			return true
		}
	}
	return false
}

// everyoneAllows tells whether a user may send to all clients.
func (r *rules) everyoneAllows(u identity.User) bool {
	return r.everyone == Anybody || r.everyone == Users && !u.Anonymous()
}
