package adapter

import (
	"slices"
	"sync"
	"sync/atomic"
)

// The kinds of RoomEvent. Node: socket.io-adapter events of the same names.
const (
	CreateRoom = "create-room"
	JoinRoom   = "join-room"
	LeaveRoom  = "leave-room"
	DeleteRoom = "delete-room"
)

// maxEvents bounds the events that wait for a watcher to return.
const maxEvents = 1 << 16

// RoomEvent tells of a change: "create-room" then "join-room"; "leave-room" then "delete-room". Socket is the
// member whose change made it, also where a room is created or deleted.
type RoomEvent struct {
	Kind, Room, Socket string
}

// Watch adds a further function like that of NewIndex. A watcher may call the index; the events of that come
// after it returns. While one does not return, up to 65,536 events wait for it and further ones are dropped.
func (x *Index) Watch(on func(RoomEvent)) {
	if on != nil {
		x.events.watch(on)
	}
}

// EventsDropped counts the events that were dropped because a watcher did not keep up.
func (x *Index) EventsDropped() uint64 { return x.events.dropped.Load() }

// events hands changes to watchers in order and without a lock: whoever finds nobody at it hands over all that
// is queued.
type events struct {
	watching atomic.Bool
	dropped  atomic.Uint64

	mu       sync.Mutex
	watchers []func(RoomEvent)
	queue    []RoomEvent
	busy     bool // somebody hands over
	held     int  // by hold
}

// on tells whether there is a watcher.
func (v *events) on() bool { return v.watching.Load() }

func (v *events) watch(f func(RoomEvent)) {
	v.mu.Lock()
	v.watchers = append(slices.Clip(v.watchers), f)
	v.mu.Unlock()
	v.watching.Store(true)
}

// add queues an event. It is called under the index's lock, which puts events in order.
func (v *events) add(e RoomEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) >= maxEvents {
		v.dropped.Add(1)
		return
	}
	v.queue = append(v.queue, e)
}

// hold keeps events from being handed over until as many calls of release. It is for sections under a lock
// that change the index.
func (v *events) hold() {
	v.mu.Lock()
	v.held++
	v.mu.Unlock()
}

func (v *events) release() {
	v.mu.Lock()
	v.held--
	v.mu.Unlock()
	v.emit()
}

// emit hands over what is queued.
func (v *events) emit() {
	if !v.on() {
		return
	}
	v.mu.Lock()
	if v.busy || v.held > 0 {
		v.mu.Unlock()
		return
	}
	v.busy = true
	v.mu.Unlock()

	ended := false
	defer func() {
		if !ended { // a watcher panicked: the next change hands over the rest
			v.mu.Lock()
			v.busy = false
			v.mu.Unlock()
		}
	}()
	for {
		batch, watchers := v.take()
		if batch == nil {
			ended = true
			return
		}
		for _, e := range batch {
			for _, f := range watchers {
				f(e)
			}
		}
	}
}

// take takes the queue, or ends the hand-over when there is nothing or events are held.
func (v *events) take() ([]RoomEvent, []func(RoomEvent)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == 0 || v.held > 0 {
		v.busy = false
		return nil, nil
	}
	batch := v.queue
	v.queue = nil
	return batch, v.watchers
}

// Hold keeps watchers from being told until as many calls of Release. It is for adapters, for sections under a lock of
// theirs that may change the index.
func (x *Index) Hold() { x.events.hold() }

// Release ends Hold and tells watchers what has changed. It must not be called under a lock that they may want.
func (x *Index) Release() { x.events.release() }
