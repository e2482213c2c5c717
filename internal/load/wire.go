package load

import (
	"encoding/json"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// phase is how far a worker is. Phases come in order.
type phase int

const (
	phaseConnecting phase = iota
	phaseReady            // no further connection is tried
	phaseRunning
	phaseSent // no further event is sent
	phaseDone // the last report
)

// order is what a worker is told. The first one has the share; it connects then.
type order struct {
	Share *share `json:"share,omitempty"`
	Start bool   `json:"start,omitempty"`
	Stop  bool   `json:"stop,omitempty"` // close everything, report, end
}

// report is what a worker tells: counts of all that has been, histograms of the time since the report before.
type report struct {
	Phase phase `json:"phase"`

	Opened int            `json:"opened"` // connections that were ready once
	Open   int            `json:"open"`
	Under  int            `json:"under_way"` // connections that are being opened
	Failed map[string]int `json:"failed,omitempty"`
	Lost   map[string]int `json:"lost,omitempty"`

	Sent     int            `json:"sent"`
	Answered int            `json:"answered"`
	Unsent   int            `json:"unsent"` // due, but the connection had too much under way
	Waiting  int            `json:"waiting"`
	Received int            `json:"received"`
	Stray    int            `json:"stray"` // received from another room
	Refused  map[string]int `json:"refused,omitempty"`
	Groups   []group        `json:"groups,omitempty"` // of Fanout, from phaseSent on

	Connect []byte `json:"connect,omitempty"` // how long connections took to open
	Latency []byte `json:"latency,omitempty"`

	CPU       float64 `json:"cpu"`         // seconds of this process since the start
	Sender    float64 `json:"sending"`     // seconds that it has sent for
	SenderCPU float64 `json:"sending_cpu"` // seconds of CPU meanwhile
	Peak      int64   `json:"peak"`        // resident bytes of this process at most
	CPUs      int     `json:"cpus"`        // that it may use
	Pid       int     `json:"pid"`
}

// group counts what one room sent and got. Of receivers only those count that are still there.
type group struct {
	Published int `json:"p"`
	Receivers int `json:"r"`
	Got       int `json:"g"`
}

// Bounds of what is measured, in nanoseconds; longer times count as the longest.
const (
	longest = int64(3600e9)
	figures = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, longest, figures) }

// packed encodes a histogram; an empty one is nil.
func packed(h *hdrhistogram.Histogram) []byte {
	if h.TotalCount() == 0 {
		return nil
	}
	b, err := h.EncodeV2()
	if err != nil {
		return nil // cannot be: it is of our own making
	}
	return b
}

// addPacked adds to h what packed has made.
func addPacked(h *hdrhistogram.Histogram, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	from, err := hdrhistogram.Decode(b)
	if err != nil {
		return err
	}
	h.Merge(from)
	return nil
}

// line is a message between Run and a worker.
func line(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}
