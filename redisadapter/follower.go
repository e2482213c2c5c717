package redisadapter

import (
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
)

// follower keeps the channels of the rooms that exist here subscribed to. It goes by what the index has when it is told of
// a change, and not by what it is told, so that it is right also where it is told late; where the index had to drop
// changes, it compares all rooms.
type follower struct {
	x       *adapter.Index
	l       *listener
	receive func(channel, payload string)
	channel func(room string) string
	wants   func(room string) bool // that exists here
	always  []string               // channels that are subscribed to for another reason

	mu      sync.Mutex
	dropped uint64 // changes that the index had dropped when all rooms were compared
}

// start starts to follow. It ends with the listener.
func (f *follower) start() {
	f.x.Watch(func(e adapter.RoomEvent) {
		if e.Kind == adapter.CreateRoom || e.Kind == adapter.DeleteRoom {
			f.changed(e.Room)
		}
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compare() // rooms that were there before
}

// changed subscribes to the channel of a room, or unsubscribes.
func (f *follower) changed(room string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dropped := f.x.EventsDropped(); dropped != f.dropped {
		f.dropped = dropped
		f.compare()
		return
	}
	channel := f.channel(room)
	switch {
	case f.isAlways(channel):
	case f.x.Has(room) && f.wants(room):
		f.l.add(f.receive, channel)
	default:
		f.l.remove(channel)
	}
}

// compare makes the subscriptions what they are to be. It is called with the lock held.
func (f *follower) compare() {
	want := map[string]struct{}{}
	for _, room := range f.x.AllRooms() {
		if f.wants(room) {
			want[f.channel(room)] = struct{}{}
		}
	}
	for _, channel := range f.l.listensTo() {
		if _, ok := want[channel]; !ok && !f.isAlways(channel) {
			f.l.remove(channel)
		}
	}
	for channel := range want {
		if !f.isAlways(channel) {
			f.l.add(f.receive, channel)
		}
	}
}

func (f *follower) isAlways(channel string) bool {
	return slices.Contains(f.always, channel)
}
