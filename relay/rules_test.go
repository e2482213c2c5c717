package relay

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/relay/identity"
)

func TestRules(t *testing.T) {
	t.Parallel()
	r, err := compile(Rules{
		List: []Rule{
			{Rooms: "private:{user}", Join: Users, Publish: Users},
			{Rooms: "org:{org}:*", Join: Users, Publish: Claimed},
			{Rooms: "{user}/{org}", Join: Anybody},
			{Rooms: "news:*", Join: Anybody, Publish: Nobody, Hidden: true},
			{Rooms: "news:*", Join: Nobody},
			{Rooms: "*:end", Join: Users},
		},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	ann := identity.User{
		ID: "ann", Rooms: []string{"chat:*", "one", "org:*:board"},
		Claims: map[string][]string{"org": {"red", "blue:green", ""}},
	}
	anonymous := identity.User{}
	odd := identity.User{ID: "a*b"}
	for _, test := range []struct {
		name          string
		user          identity.User
		room          string
		join, publish bool
	}{
		{"own room", ann, "private:ann", true, true},
		{"another's room", ann, "private:bob", false, false},
		{"another's room, anonymous", anonymous, "private:bob", false, false},
		{"nobody's room", ann, "private:", false, false},
		{"longer than the id", ann, "private:annie", false, false},
		{"a star in an id stands for itself", odd, "private:axb", false, false},
		{"the room of an odd id", odd, "private:a*b", true, true},
		{"a claim", ann, "org:red:all", true, false},
		{"a claim and a room of the token", ann, "org:red:board", true, true},
		{"a claim with the separator in it", ann, "org:blue:green:x", true, false},
		{"a claim of which only the beginning is there", ann, "org:blue:x", false, false},
		{"another value", ann, "org:black:board", false, false},
		{"an empty value", ann, "org::board", false, false},
		{"two names", ann, "ann/red", true, false},
		{"two names, one of them another's", ann, "bob/red", false, false},
		{"any", anonymous, "news:today", true, false},
		{"any, known", ann, "news:", true, false},
		{"end", ann, "a:end", true, false},
		{"default, in the token", ann, "chat:1", true, true},
		{"default, in the token by name", ann, "one", true, true},
		{"default, not in the token", ann, "two", false, false},
		{"default, anonymous", anonymous, "chat:1", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := r.allows(test.user, test.room, toJoin); got != test.join {
				t.Errorf("join %q: %v", test.room, got)
			}
			if got := r.allows(test.user, test.room, toPublish); got != test.publish {
				t.Errorf("publish %q: %v", test.room, got)
			}
		})
	}
	if !r.find("news:x").hidden || r.find("one").hidden {
		t.Error("hidden rooms")
	}
}

func TestRules_Defaults(t *testing.T) {
	t.Parallel()
	ann := identity.User{ID: "ann"}
	for _, test := range []struct {
		name                     string
		rules                    Rules
		open                     bool
		anybody, user            bool // may join
		anybodyToAll, usersToAll bool
	}{
		{"open", Rules{}, true, true, true, true, true},
		{"with identity", Rules{}, false, false, false, false, false},
		{"with identity, for users", Rules{Default: Users, Everyone: Users}, false, false, true, false, true},
		{"open, for nobody", Rules{Default: Nobody, Everyone: Nobody}, true, false, false, false, false},
	} {
		r, err := compile(test.rules, test.open)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.allows(identity.User{}, "r", toJoin); got != test.anybody {
			t.Errorf("%s: anybody may join: %v", test.name, got)
		}
		if got := r.allows(ann, "r", toPublish); got != test.user {
			t.Errorf("%s: a user may publish: %v", test.name, got)
		}
		if got := r.everyoneAllows(identity.User{}); got != test.anybodyToAll {
			t.Errorf("%s: anybody may send to all: %v", test.name, got)
		}
		if got := r.everyoneAllows(ann); got != test.usersToAll {
			t.Errorf("%s: a user may send to all: %v", test.name, got)
		}
	}
}

func TestRules_Faults(t *testing.T) {
	t.Parallel()
	_, err := compile(Rules{
		Default: "all", Everyone: Claimed,
		List: []Rule{
			{Rooms: ""},
			{Rooms: "{user"},
			{Rooms: "a}"},
			{Rooms: "{}"},
			{Rooms: "{a*}"},
			{Rooms: strings.Repeat("a*", 9)},
			{Rooms: strings.Repeat("x", 513)},
			{Rooms: "ok", Join: "anyone"},
			{Rooms: "ok", Publish: "Any"},
		},
	}, false)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`rooms by default: "all"`, `messages to everyone: "claim"`, "rule 1 ", "rule 2 ", "rule 3 ", "rule 4 ", "rule 5 ",
		"rule 6 ", "rule 7 ", `rule 8 of rooms: join: "anyone"`, `rule 9 of rooms: publish: "Any"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %s:\n%v", want, err)
		}
	}
}

func TestPattern_Costs(t *testing.T) {
	r, err := compile(Rules{List: []Rule{
		{Rooms: "{a}{b}{c}{d}{e}{f}*{g}*{h}x", Join: Users}, {Rooms: "org:{org}:*", Publish: Users},
	}}, false)
	if err != nil {
		t.Fatal(err)
	}
	u := identity.User{ID: "ann", Claims: map[string][]string{"org": {"red"}}}
	room := "org:red:" + strings.Repeat("a", maxRoom-8)
	if n := testing.AllocsPerRun(100, func() {
		if !r.allows(u, room, toPublish) {
			t.Fatal("refused")
		}
	}); n > 0 {
		t.Errorf("%v allocations for a decision", n)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"*", "r"}, {"a*b*c", "axbxc"}, {"{user}:{x}*", "ann:red:z"}, {"**{user}", "xann"}, {"a{user}", "aann"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, s, room string) {
		p, err := parsePattern(s)
		if err != nil {
			return
		}
		strict := p.match(room, func(string) []string { return []string{"ann", "red", ""} })
		if strict && !p.match(room, nil) {
			t.Errorf("%q: %q is a user's and not one of the pattern", s, room)
		}
		if len(room) <= maxRoom && !strings.ContainsAny(s, "{}") && p.match(room, nil) != matchGlob(s, room) {
			t.Errorf("%q and %q: two ways to match differ", s, room)
		}
	})
}
