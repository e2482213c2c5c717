package adapter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

type member struct {
	id   string
	gone atomic.Bool
}

func (m *member) ID() string { return m.id }
func (m *member) Gone() bool { return m.gone.Load() }

func newMember(id string) *member { return &member{id: id} }

// names gives the ids that o selects, sorted.
func names(x *Index, o Options) []string {
	var ids []string
	x.Each(o, func(m Member) { ids = append(ids, m.ID()) })
	slices.Sort(ids)
	return ids
}

func add(t *testing.T, x *Index, id string, rooms ...string) *member {
	t.Helper()
	m := newMember(id)
	x.Add(m)
	if err := x.Join(m, rooms...); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestIndex_Each covers: selection by rooms and exceptions, each member once.
func TestIndex_Each(t *testing.T) {
	t.Parallel()
	x := NewIndex(0, nil)
	add(t, x, "a", "red")
	add(t, x, "b", "red", "blue")
	add(t, x, "c", "blue", "a") // c has joined the room of a's id
	add(t, x, "d")
	many := []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"}
	for _, c := range []struct {
		name          string
		rooms, except []string
		want          string
	}{
		{"all", nil, nil, "a b c d"},
		{"empty lists", []string{}, []string{}, "a b c d"},
		{"one room", []string{"red"}, nil, "a b"},
		{"unknown room", []string{"green"}, nil, ""},
		{"own room", []string{"d"}, nil, "d"},
		{"own room of another", []string{"a"}, nil, "a c"},
		{"overlap", []string{"red", "blue"}, nil, "a b c"},
		{"same room twice", []string{"red", "red"}, nil, "a b"},
		{"own and joined", []string{"a", "red", "b"}, nil, "a b c"},
		{"except room", nil, []string{"red"}, "c d"},
		{"except own", nil, []string{"a"}, "b d"},
		{"except unknown", nil, []string{"green"}, "a b c d"},
		{"room except room", []string{"blue"}, []string{"red"}, "c"},
		{"room except itself", []string{"red"}, []string{"red"}, ""},
		{"room except own", []string{"red"}, []string{"b"}, "a"},
		{"own except own", []string{"d"}, []string{"d"}, ""},
		{"rooms except rooms", []string{"red", "blue", "d"}, []string{"a", "green"}, "b d"},
		{"empty name", []string{""}, nil, ""},
		{"many rooms", append([]string{"red", "a", "blue"}, many...), nil, "a b c"},
		{"many exceptions", nil, append([]string{"red", "d"}, many...), "c"},
		{"many of both", append(many, "red", "red", "b"), append([]string{"a"}, many...), "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Rooms: c.rooms, Except: c.except}
			if got := strings.Join(names(x, o), " "); got != c.want {
				t.Errorf("Each: %q, want %q", got, c.want)
			}
			if got, want := x.Count(o), len(strings.Fields(c.want)); got != want {
				t.Errorf("Count: %d, want %d", got, want)
			}
			if got, want := len(x.Collect(o)), len(strings.Fields(c.want)); got != want {
				t.Errorf("Collect: %d, want %d", got, want)
			}
		})
	}
}

// TestIndex_OddNames covers T22: any bytes are a room of their own.
func TestIndex_OddNames(t *testing.T) {
	t.Parallel()
	x := NewIndex(0, nil)
	rooms := []string{"", "#", "x#", "*", "?", "[a", "a\x00b", "\r\n", "\xff\xfe", "\U0001F41F", " ", strings.Repeat("r", 5000)}
	for i, r := range rooms {
		add(t, x, fmt.Sprintf("m%02d", i), r)
	}
	for i, r := range rooms {
		want := []string{fmt.Sprintf("m%02d", i)}
		if got := names(x, Options{Rooms: []string{r}}); !slices.Equal(got, want) {
			t.Errorf("room %.20q: %q, want %q", r, got, want)
		}
	}
}

func TestIndex_JoinBeforeAdd(t *testing.T) {
	t.Parallel()
	x := NewIndex(0, nil)
	m := newMember("a")
	if err := x.Join(m, "red", "a"); err != nil {
		t.Fatal(err)
	}
	if x.Len() != 0 || x.Count(Options{}) != 0 || x.Count(Options{Rooms: []string{"red"}}) != 0 ||
		x.Count(Options{Rooms: []string{"a"}}) != 0 {
		t.Error("selected before Add")
	}
	if _, ok := x.Lookup("a"); ok || x.Has("a") || !x.Has("red") {
		t.Error("wrong rooms before Add")
	}
	if got := x.Rooms(m); !slices.Equal(got, []string{"red"}) {
		t.Errorf("rooms before Add: %q", got)
	}
	x.Add(m)
	x.Add(m)
	if got := names(x, Options{Rooms: []string{"red"}}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after Add: %q", got)
	}
	if got := x.Rooms(m); !slices.Equal(got, []string{"a", "red"}) {
		t.Errorf("rooms after Add: %q", got)
	}
	if x.Len() != 1 {
		t.Errorf("%d members after a second Add", x.Len())
	}

	// One that never gets as far leaves nothing behind.
	b := newMember("b")
	for _, rooms := range [][]string{{"blue"}, {"b"}, {}} {
		if err := x.Join(b, rooms...); err != nil {
			t.Fatal(err)
		}
		x.Leave(b, "blue")
	}
	if len(x.entries) != 1 || len(x.rooms) != 1 {
		t.Errorf("%d entries and %d rooms are left", len(x.entries), len(x.rooms))
	}
}

// TestIndex_MaxRooms covers T12: too many rooms are an error and change nothing.
func TestIndex_MaxRooms(t *testing.T) {
	t.Parallel()
	x := NewIndex(3, nil)
	m := add(t, x, "a", "r1", "r2")
	if err := x.Join(m, "r3", "r4"); !errors.Is(err, ErrTooManyRooms) {
		t.Errorf("error %v", err)
	}
	if got := x.Rooms(m); !slices.Equal(got, []string{"a", "r1", "r2"}) || x.Has("r3") {
		t.Errorf("a failed join left %q", got)
	}
	if err := x.Join(m, "r1", "r3", "r3", "a", "r2"); err != nil {
		t.Errorf("rooms that do not count: %v", err)
	}
	if err := x.Join(m, "r4"); !errors.Is(err, ErrTooManyRooms) {
		t.Errorf("error %v", err)
	}
	if err := x.Join(newMember("b"), "1", "2", "3", "4"); !errors.Is(err, ErrTooManyRooms) || len(x.entries) != 1 {
		t.Errorf("error %v, %d entries", err, len(x.entries))
	}

	x = NewIndex(0, nil)
	m = add(t, x, "a")
	for i := range DefaultMaxRooms {
		if err := x.Join(m, strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Join(m, "more"); !errors.Is(err, ErrTooManyRooms) {
		t.Errorf("error %v", err)
	}
	x = NewIndex(-1, nil)
	m = add(t, x, "a")
	for i := range 3 * DefaultMaxRooms {
		if err := x.Join(m, strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIndex_RemoveAndReplace(t *testing.T) {
	t.Parallel()
	x := NewIndex(0, nil)
	old := add(t, x, "a", "red", "blue")
	x.Remove(newMember("a")) // a stranger of the same id
	x.Remove(newMember("z"))
	if x.Len() != 1 {
		t.Fatal("a stranger removed a member")
	}
	renewed := newMember("a")
	x.Add(renewed)
	if m, _ := x.Lookup("a"); m != Member(renewed) || x.Len() != 1 || x.Has("red") {
		t.Error("not replaced")
	}
	x.Remove(old)
	x.Leave(old, "a")
	if x.Len() != 1 || x.Rooms(old) != nil {
		t.Error("the old member still counts")
	}
	x.Remove(renewed)
	x.Remove(renewed)
	if x.Len() != 0 || len(x.entries)+len(x.rooms)+len(x.AllRooms()) != 0 {
		t.Error("something is left")
	}
}

func TestIndex_Gone(t *testing.T) {
	t.Parallel()
	x := NewIndex(0, nil)
	m := add(t, x, "a", "red")
	m.gone.Store(true)
	x.Remove(m)
	x.Add(m)
	if err := x.Join(m, "blue"); !errors.Is(err, ErrGone) {
		t.Errorf("error %v", err)
	}
	if x.Len() != 0 || len(x.entries) != 0 {
		t.Error("a member that is gone came back")
	}
}

func TestIndex_Lists(t *testing.T) {
	t.Parallel()
	x := NewIndex(0, nil)
	add(t, x, "a", "red", "b")
	add(t, x, "b")
	got := x.AllRooms()
	slices.Sort(got)
	if !slices.Equal(got, []string{"a", "b", "red"}) {
		t.Errorf("rooms %q", got)
	}
	for range x.Members() {
		break
	}
	n := 0
	for m := range x.Members() {
		x.Remove(m) // the index may be used while iterating
		n++
	}
	if n != 2 || x.Len() != 0 {
		t.Errorf("%d members seen, %d left", n, x.Len())
	}
}

// TestIndex_Random compares with a model after each of many random changes.
func TestIndex_Random(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	x := NewIndex(-1, nil)
	members := make([]*member, 12)
	for i := range members {
		members[i] = newMember("m" + strconv.Itoa(i))
	}
	added, joined := map[string]bool{}, map[string]map[string]bool{}
	pick := func(n int) []string {
		var rooms []string
		for range r.IntN(n) {
			if i := r.IntN(20); i < 12 {
				rooms = append(rooms, "m"+strconv.Itoa(i))
			} else {
				rooms = append(rooms, "r"+strconv.Itoa(i))
			}
		}
		return rooms
	}
	for range 5000 {
		m := members[r.IntN(len(members))]
		switch r.IntN(5) {
		case 0:
			x.Add(m)
			added[m.id] = true
		case 1, 2:
			rooms := pick(4)
			if err := x.Join(m, rooms...); err != nil {
				t.Fatal(err)
			}
			for _, room := range rooms {
				if joined[m.id] == nil {
					joined[m.id] = map[string]bool{}
				}
				joined[m.id][room] = room != m.id
			}
		case 3:
			rooms := pick(4)
			x.Leave(m, rooms...)
			for _, room := range rooms {
				delete(joined[m.id], room)
			}
		case 4:
			if r.IntN(3) == 0 {
				x.Remove(m)
				delete(added, m.id)
				delete(joined, m.id)
			}
		}
		o := Options{Rooms: pick(12), Except: pick(12)}
		var want []string
		for _, m := range members {
			in := func(room string) bool { return room == m.id || joined[m.id][room] }
			if added[m.id] && (len(o.Rooms) == 0 || slices.ContainsFunc(o.Rooms, in)) && !slices.ContainsFunc(o.Except, in) {
				want = append(want, m.id)
			}
		}
		slices.Sort(want)
		if got := names(x, o); !slices.Equal(got, want) {
			t.Fatalf("%q but %q: %q, want %q", o.Rooms, o.Except, got, want)
		}
		checkInvariants(t, x)
	}
}

// checkInvariants verifies that all positions agree.
func checkInvariants(t *testing.T, x *Index) {
	t.Helper()
	for i, e := range x.all {
		if int(e.at) != i || x.entries[e.id] != e {
			t.Fatalf("member %s is out of place", e.id)
		}
	}
	for name, r := range x.rooms {
		if r.name != name || len(r.slots) == 0 {
			t.Fatalf("room %q is empty or misnamed", name)
		}
		for i, s := range r.slots {
			if seat := s.e.rooms[s.seat]; seat.r != r || int(seat.at) != i {
				t.Fatalf("room %q: slot %d is out of place", name, i)
			}
		}
	}
	for id, e := range x.entries {
		if e.at < 0 && len(e.rooms) == 0 {
			t.Fatalf("entry %s is useless", id)
		}
		for i, s := range e.rooms {
			if slot := s.r.slots[s.at]; slot.e != e || int(slot.seat) != i {
				t.Fatalf("member %s: seat %d is out of place", id, i)
			}
		}
	}
}

func TestIndex_Concurrent(t *testing.T) {
	t.Parallel()
	x := NewIndex(0, func(RoomEvent) {})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				m := newMember(fmt.Sprintf("m%d-%d", g, i%10))
				x.Add(m)
				_ = x.Join(m, "red", strconv.Itoa(i%5)) // it may have been replaced
				x.Each(Options{Rooms: []string{"red", "1"}, Except: []string{"2"}}, func(m Member) { x.Leave(m, "red") })
				x.Count(Options{})
				x.AllRooms()
				x.Remove(m)
			}
		})
	}
	wg.Wait()
	checkInvariants(t, x)
	if x.Len() != 0 || len(x.rooms) != 0 {
		t.Error("something is left")
	}
}

// filled is an index of n members in room "red", each also in one of ten further rooms.
func filled(n int) *Index {
	x := NewIndex(0, nil)
	for i := range n {
		m := newMember(fmt.Sprintf("member-%013d", i))
		x.Add(m)
		_ = x.Join(m, "red", "room-"+strconv.Itoa(i%10)) // two rooms are within the bound
	}
	return x
}

func TestIndex_EachAllocs(t *testing.T) {
	x := filled(10_000)
	n := 0
	f := func(Member) { n++ }
	for _, o := range []Options{
		{},
		{Rooms: []string{"red"}},
		{Rooms: []string{"member-0000000000001"}},
		{Rooms: []string{"red", "room-1", "room-2"}},
		{Except: []string{"room-1"}},
		{Rooms: []string{"red"}, Except: []string{"room-1", "room-2"}},
	} {
		x.Each(o, f)
		if a := testing.AllocsPerRun(20, func() { x.Each(o, f) }); a >= poolMisses {
			t.Errorf("%v: %v allocations", o, a)
		}
	}
}
