package sockeye

import (
	"sync"
	"time"
)

// Rate bounds how fast one client may send. Who sends faster loses nothing: its connection is read no faster than that,
// which TCP passes on to it. Its acknowledgements and its DISCONNECT wait with the rest.
//
// Differs from Node: there is none.
type Rate struct {
	// Messages bounds the messages of a second, of all namespaces together; each attachment is one. 0 = no limit.
	Messages int

	// Bytes bounds the bytes of a second. 0 = no limit.
	Bytes int

	// Burst is the time whose share may come at once. Default 1 s.
	Burst time.Duration
}

// meter measures what one client sends.
type meter struct {
	start time.Time

	mu sync.Mutex

	// Guarded by mu.
	messages int64       // when the time that messages take is over, in nanoseconds since start
	bytes    int64       // likewise
	pause    *time.Timer // while the connection is not read
	ended    bool
}

// add counts a message and gives the time to wait until there is room for the next.
func (m *meter) add(r *Rate, size int) (wait time.Duration) {
	now := int64(time.Since(m.start))
	if r.Messages > 0 {
		m.messages = max(m.messages, now) + int64(time.Second)/int64(r.Messages)
	}
	if r.Bytes > 0 {
		m.bytes = max(m.bytes, now) + int64(size)*int64(time.Second)/int64(r.Bytes)
	}
	return m.wait(r, now)
}

func (m *meter) wait(r *Rate, now int64) time.Duration {
	return time.Duration(max(m.messages, m.bytes)-now) - r.Burst
}

// measure counts a message, and pauses reading if the client sends too fast. What a WebSocket has read until then,
// which is one buffer, still comes and makes the pause longer. It is called by the goroutine that reads.
func (c *conn) measure(size int) {
	m := c.rate
	m.mu.Lock()
	wait := m.add(&c.srv.cfg.Rate, size)
	pause := wait > 0 && m.pause == nil && !m.ended
	if pause {
		m.pause = time.AfterFunc(wait, c.measured)
	}
	m.mu.Unlock()
	if pause {
		c.srv.counters.slowed.Add(1)
		c.pause()
	}
}

// measured is called by a timer, when reading may go on.
func (c *conn) measured() {
	m := c.rate
	m.mu.Lock()
	wait := m.wait(&c.srv.cfg.Rate, int64(time.Since(m.start)))
	if m.ended || m.pause == nil {
		m.mu.Unlock()
		return
	}
	if wait > 0 {
		m.pause.Reset(wait)
		m.mu.Unlock()
		return
	}
	m.pause = nil
	m.mu.Unlock()
	c.resume()
}

// stop ends the pause for good.
func (m *meter) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.pause != nil {
		m.pause.Stop()
	}
}
