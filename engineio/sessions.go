package engineio

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
)

const (
	sidLength  = 20 // peers recognize ids by it
	sidBytes   = 15
	sidShards  = 64
	shardsMask = sidShards - 1
)

// newSID gives 15 random bytes as 20 characters.
//
// Node: base64id, whose last bytes are a counter; the alphabet is the same.
func newSID() string {
	var raw [sidBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: it stops the program instead
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// sessions are the open connections of a server by id.
type sessions struct {
	shards [sidShards]sessionShard
}

type sessionShard struct {
	mu sync.RWMutex
	m  map[string]*Conn
}

func (s *sessions) shard(sid string) *sessionShard { return &s.shards[sid[len(sid)-1]&shardsMask] }

// get gives nil when there is none.
func (s *sessions) get(sid string) *Conn {
	if len(sid) != sidLength {
		return nil
	}
	sh := s.shard(sid)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.m[sid]
}

// add is false when the id is taken.
func (s *sessions) add(c *Conn) bool {
	sh := s.shard(c.sid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, taken := sh.m[c.sid]; taken {
		return false
	}
	if sh.m == nil {
		sh.m = map[string]*Conn{}
	}
	sh.m[c.sid] = c
	return true
}

func (s *sessions) remove(c *Conn) {
	sh := s.shard(c.sid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.m, c.sid)
}

// all gives a snapshot.
func (s *sessions) all() []*Conn {
	var cs []*Conn
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		for _, c := range sh.m {
			cs = append(cs, c)
		}
		sh.mu.RUnlock()
	}
	return cs
}
