package redisadapter

import (
	"strconv"
)

// maxEntryID bounds the text of an id: two numbers of 64 bits.
const maxEntryID = 41

// entryID is the id of an entry of a stream.
type entryID struct{ ms, seq uint64 }

// parseEntryID reads <milliseconds>-<sequence>, digits alone. The zero id stands before the first entry.
func parseEntryID(s string) (id entryID, ok bool) {
	if len(s) > maxEntryID {
		return entryID{}, false
	}
	for i := range len(s) {
		if s[i] != '-' {
			continue
		}
		var ok1, ok2 bool
		id.ms, ok1 = digits(s[:i])
		id.seq, ok2 = digits(s[i+1:])
		return id, ok1 && ok2
	}
	return entryID{}, false
}

func digits(s string) (uint64, bool) {
	if s == "" || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

func (i entryID) String() string { return string(i.append(make([]byte, 0, maxEntryID))) }

func (i entryID) append(b []byte) []byte {
	b = append(strconv.AppendUint(b, i.ms, 10), '-')
	return strconv.AppendUint(b, i.seq, 10)
}

func (i entryID) less(j entryID) bool { return i.ms < j.ms || i.ms == j.ms && i.seq < j.seq }

// next is the lowest id above i.
func (i entryID) next() entryID {
	if i.seq == ^uint64(0) {
		return entryID{i.ms + 1, 0}
	}
	return entryID{i.ms, i.seq + 1}
}
