package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/presence"
)

// Scope is something that a token is good for.
type Scope string

// The scopes.
const (
	Read   Scope = "read"   // ask who is there
	Emit   Scope = "emit"   // send events
	Manage Scope = "manage" // join, leave, disconnect
)

// Token lets one program in.
type Token struct {
	// Name stands for the token in the log: 1 to 64 of the characters A-Z a-z 0-9 . _ -
	Name string

	// Secret is what the program sends in "Authorization: Bearer": at least 16 characters. "sha256:" and 64 hexadecimal
	// digits stand for a secret of which only the hash is known here.
	Secret string

	// Scopes say what the token is good for. Empty: for everything.
	Scopes []Scope
}

// Commander runs commands of Redis; the drivers of package redisadapter are Commanders. It is safe for concurrent use.
type Commander interface {
	// Do runs one command, its name first. key is one that it is about. A reply is nil, a string, an int64 or an []any of
	// these.
	Do(ctx context.Context, key string, command ...string) (any, error)
}

// Presence says who is online; *presence.Presence is one. It is safe for concurrent use.
type Presence interface {
	Online(ctx context.Context, user string) (bool, error)
	Count(ctx context.Context) (int, error)
	CountRoom(ctx context.Context, room string) (int, error)
	Users(ctx context.Context, after string, n int) (presence.Page, error)
	UsersInRoom(ctx context.Context, room, after string, n int) (presence.Page, error)
}

// Config configures a [Handler].
type Config struct {
	// Tokens are who is let in, at least one and at most 1,000.
	Tokens []Token

	// Namespace is the one that requests are about. Default "/".
	Namespace string

	// Redis keeps the answers to requests with an Idempotency-Key, so that every server of the cluster knows them. nil: this
	// server keeps its own, up to 10,000 and 64 MiB, of which the oldest go first.
	Redis Commander

	// Presence answers questions about users, whose ids must be those of the rooms of [identity.UserRoom]: then a user whose
	// page is being loaded again is online, and what is known of a user is told. nil: the servers are asked for the sockets
	// of users.
	Presence Presence

	// Prefix is how keys in Redis begin. Default "sockeye:rest:".
	Prefix string

	// Replay is how long answers are kept. Default 10 min, from 1 s to 24 h.
	Replay time.Duration

	// MaxBody bounds the body of a request. Default 1,000,000 bytes.
	MaxBody int64

	// MaxBatch bounds the operations of a batch. Default 100.
	MaxBatch int

	// MaxConcurrent bounds the requests that are answered at a time; further ones get 429. Default 64. Of these a quarter
	// may be questions to the cluster, and a half waits for acknowledgements, but at least one of each.
	MaxConcurrent int

	// MaxAckWait bounds how long a request may wait for acknowledgements. Default 30 s.
	MaxAckWait time.Duration

	// Address gives the address of a client, for the limit of wrong tokens. nil: that of the connection.
	Address func(r *http.Request) string

	// Logger gets a line for each operation that changes something, with the name of the token. nil: silent.
	Logger *slog.Logger
}

const (
	minSecret  = 16
	maxTokens  = 1000
	hashPrefix = "sha256:"
)

// defaults fills in what is not set, and reports all faults.
func (c *Config) defaults() error {
	var faults []error
	def := func(what string, v *int64, def, least, most int64) {
		if *v == 0 {
			*v = def
		}
		if *v < least || *v > most {
			faults = append(faults, fmt.Errorf("rest: %s is not from %d to %d", what, least, most))
		}
	}
	batch, concurrent := int64(c.MaxBatch), int64(c.MaxConcurrent)
	def("the largest body", &c.MaxBody, 1_000_000, 1024, 100<<20)
	def("the largest batch", &batch, 100, 1, 10_000)
	def("requests at a time", &concurrent, 64, 1, 100_000)
	def("the time to keep answers, in nanoseconds,", (*int64)(&c.Replay), int64(10*time.Minute), int64(time.Second), int64(24*time.Hour))
	def("the wait for acknowledgements, in nanoseconds,", (*int64)(&c.MaxAckWait), int64(30*time.Second), int64(time.Millisecond), int64(time.Hour))
	c.MaxBatch, c.MaxConcurrent = int(batch), int(concurrent)
	if c.Namespace == "" {
		c.Namespace = "/"
	}
	if c.Prefix == "" {
		c.Prefix = "sockeye:rest:"
	}
	if c.Address == nil {
		c.Address = peerAddress
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Tokens) == 0 || len(c.Tokens) > maxTokens {
		faults = append(faults, errors.New("rest: there must be 1 to 1,000 tokens"))
	}
	return errors.Join(faults...)
}

func peerAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// token is a [Token] that was checked.
type token struct {
	name   string
	hash   [sha256.Size]byte
	scopes []Scope
}

func (t *token) may(s Scope) bool { return len(t.scopes) == 0 || slices.Contains(t.scopes, s) }

func checkTokens(all []Token) ([]token, error) {
	var faults []error
	tokens := make([]token, 0, len(all))
	for i, t := range all {
		fault := func(text string) { faults = append(faults, fmt.Errorf("rest: token %d: %s", i+1, text)) }
		c := token{name: t.Name, scopes: slices.Clone(t.Scopes)}
		if !isName(t.Name, 64) {
			fault("its name is not 1 to 64 of the characters A-Z a-z 0-9 . _ -")
		}
		if slices.ContainsFunc(tokens, func(o token) bool { return o.name == t.Name }) {
			fault("its name is there twice")
		}
		for _, s := range t.Scopes {
			if s != Read && s != Emit && s != Manage {
				fault(fmt.Sprintf("scope %q is none of read, emit, manage", string(s)))
			}
		}
		digits, hashed := strings.CutPrefix(t.Secret, hashPrefix)
		if hashed {
			b, err := hex.DecodeString(digits)
			if err != nil || len(b) != sha256.Size {
				fault(`after "sha256:" there must be 64 hexadecimal digits`)
			}
			copy(c.hash[:], b)
		} else {
			if len(t.Secret) < minSecret || strings.ContainsAny(t.Secret, " \t\r\n") {
				fault("its secret must have 16 characters or more, and no blanks")
			}
			c.hash = sha256.Sum256([]byte(t.Secret))
		}
		if slices.ContainsFunc(tokens, func(o token) bool { return o.hash == c.hash }) {
			fault("its secret is there twice")
		}
		tokens = append(tokens, c)
	}
	return tokens, errors.Join(faults...)
}

// isName tells whether s is a plain name of at most n characters.
func isName(s string, n int) bool {
	if s == "" || len(s) > n {
		return false
	}
	for _, c := range []byte(s) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
