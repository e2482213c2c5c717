package rediswire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

func controls() map[string]Control {
	members := []ControlMember{{"/", "abcdef"}, {"/a#\xff", "0123456789abcdef"}}
	return map[string]Control{
		"alive":       {Kind: ControlAlive, Server: "s-_9", Serial: 1 << 40},
		"hello":       {Kind: ControlHello, Server: "s", Serial: 1, All: true, Members: members},
		"empty hello": {Kind: ControlHello, Server: "s"},
		"here":        {Kind: ControlHere, Server: "s", Serial: 7, Members: append([]ControlMember{{"/gone", ""}}, members...)},
		"bye":         {Kind: ControlBye, Server: "s", Serial: 7, Members: members},
		"leave":       {Kind: ControlLeave, Server: "s"},
		"ask": {
			Kind: ControlAsk, Server: "s", UID: "u", Namespace: "/x", RequestID: "r", What: AskRooms,
			Rooms: []string{"", "a", "\xfe"}, Except: []string{"b"},
		},
		"tell": {
			Kind: ControlTell, Server: "s", UID: "u", Namespace: "/x", RequestID: "r", Last: true, Count: 70000,
			Sizes: []RoomSize{{"", 1}, {"\xfe", 70000}},
		},
		"answer": {Kind: ControlAnswer, Server: "s", UID: "u", Namespace: "/x", Payload: []byte("\x00{}")},
	}
}

func TestControl_RoundTrip(t *testing.T) {
	t.Parallel()
	for name, c := range controls() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := AppendControl([]byte("before"), &c)[len("before"):]
			got, err := ParseControl(b)
			if err != nil || !reflect.DeepEqual(got, c) {
				t.Fatalf("%+v, %v; want %+v", got, err, c)
			}
			for i := range b {
				if _, err := ParseControl(b[:i]); !errors.Is(err, ErrMalformed) {
					t.Errorf("of %d bytes: error %v", i, err)
				}
			}
			if _, err := ParseControl(append(bytes.Clone(b), 0)); !errors.Is(err, ErrMalformed) {
				t.Errorf("one byte more: error %v", err)
			}
		})
	}
}

func TestParseControl_Refuses(t *testing.T) {
	t.Parallel()
	array := func(vs ...any) []byte {
		b := msgp.AppendArrayHeader(nil, uint32(len(vs)))
		for _, v := range vs {
			b, _ = msgp.AppendIntf(b, v)
		}
		return b
	}
	var none []any
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"nil":               {0xc0},
		"JSON":              []byte(`{"type":1}`),
		"an empty array":    array(),
		"version as text":   array("1", 1, "s", 1),
		"unknown kind":      array(1, 99, "s"),
		"huge kind":         array(1, uint64(1)<<40+1, "s", 1),
		"too few fields":    array(1, 1, "s"),
		"too many fields":   array(1, 5, "s", 1),
		"no server":         array(1, 5, ""),
		"odd server":        array(1, 5, "a#b"),
		"long server":       array(1, 5, strings.Repeat("a", 65)),
		"negative serial":   array(1, 1, "s", -1),
		"odd members":       array(1, 4, "s", 1, []any{"/"}),
		"member without id": array(1, 2, "s", 1, true, []any{"/", ""}),
		"number as member":  array(1, 2, "s", 1, true, []any{"/", 1}),
		"unknown question":  array(1, 6, "s", "u", "/", "r", 3, none, none),
		"negative count":    array(1, 7, "s", "u", "/", "r", true, -1, none),
		"huge count":        array(1, 7, "s", "u", "/", "r", true, uint64(1)<<40, none),
		"text as payload":   array(1, 8, "s", "u", "/", "text"),
		"claimed length":    {0x96, 1, 2, 0xa1, 's', 1, 0xc3, 0xdd, 0xff, 0xff, 0xff, 0xfe},
	} {
		if c, err := ParseControl(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := ParseControl(array(2, "something", "new")); !errors.Is(err, ErrControlVersion) {
		t.Errorf("another version: %v", err)
	}
}

// No two channels have one name, and none is one of an official adapter with that key.
func TestControlChannels(t *testing.T) {
	t.Parallel()
	c := NewControlChannels("socket.io", "s1")
	other := NewControlChannels("socket.io", "s2")
	names := []string{c.Common, c.Own, other.Own, c.Namespace("/"), c.Namespace("/s1#"), c.Namespace("/#s1")}
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] || !strings.HasPrefix(n, "socket.io-sockeye#") {
			t.Errorf("channel %q", n)
		}
		seen[n] = true
	}
	if c.OwnOf("s2") != other.Own || c.Common != other.Common {
		t.Error("servers do not find each other")
	}
}

func FuzzParseControl(f *testing.F) {
	for _, c := range controls() {
		f.Add(AppendControl(nil, &c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseControl(b)
		if err != nil {
			return
		}
		again, err := ParseControl(AppendControl(nil, &c))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v, %v; want %+v", again, err, c)
		}
	})
}
