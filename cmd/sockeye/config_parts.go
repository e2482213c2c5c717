package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/admin"
	"github.com/sockeye-io/sockeye/internal/settings"
	"github.com/sockeye-io/sockeye/relay/rest"
)

// sessionTime is how long the Redis of the sessions may take to connect.
const sessionTime = 4 * time.Second

// sessionOptions say how the sessions of an Express application tell who somebody is.
type sessionOptions struct {
	secrets   []string
	redis     string
	prefix    string
	cookie    string
	user      string
	ttl       time.Duration
	anonymous bool
}

// restOptions are those of the REST interface, which is off without tokens.
type restOptions struct {
	tokens     restTokens
	body       settings.Size
	batch      int
	concurrent int
	ackWait    time.Duration
	replay     time.Duration
}

// metricsOptions are those of the metrics, which are off without an address.
type metricsOptions struct {
	addr   string
	events []string
}

// adminOptions are those of the admin namespace, which is off without users.
type adminOptions struct {
	users    []string
	write    bool
	addr     string
	mode     string
	uiDir    string
	serverID string
}

// presenceOptions are those of who is online.
type presenceOptions struct {
	on            bool
	expiry, grace time.Duration
}

// restTokens is a setting with a structure.
type restTokens struct{ list []rest.Token }

// restToken is one token in the file.
type restToken struct {
	Name   string   `yaml:"name"`
	Secret string   `yaml:"secret"`
	Scopes []string `yaml:"scopes,omitempty,flow"`
}

// UnmarshalSetting implements settings.Unmarshaler.
func (r *restTokens) UnmarshalSetting(n *settings.Node) error {
	var list []restToken
	if err := n.Strict(&list); err != nil {
		return err
	}
	r.list = nil
	for _, t := range list {
		token := rest.Token{Name: t.Name, Secret: t.Secret}
		for _, s := range t.Scopes {
			token.Scopes = append(token.Scopes, rest.Scope(s))
		}
		r.list = append(r.list, token)
	}
	return nil
}

// Show implements settings.Unmarshaler.
func (r *restTokens) Show() any {
	list := make([]restToken, 0, len(r.list))
	for _, t := range r.list {
		shown := restToken{Name: t.Name, Secret: settings.Mask}
		for _, s := range t.Scopes {
			shown.Scopes = append(shown.Scopes, string(s))
		}
		list = append(list, shown)
	}
	return list
}

func sessionKeys(o *options) []settings.Key {
	const group = "Identity"
	s := &o.session
	return []settings.Key{
		{Group: group, Name: "session.secrets", Flag: "session-secret", Into: &s.secrets, Secret: true, Help: "secrets of express-session: who has a session there is known here; the first signs", Check: o.checkSession},
		{Group: group, Name: "session.user", Into: &s.user, Default: "user", Help: "path in the session to the id of the user, as passport.user"},
		{Group: group, Name: "session.cookie", Into: &s.cookie, Default: "connect.sid", Help: "name of the cookie"},
		{Group: group, Name: "session.redis", Into: &s.redis, URL: true, Help: "URL of the Redis with the sessions; empty: that of the cluster"},
		{Group: group, Name: "session.prefix", Into: &s.prefix, Default: "sess:", Help: "how the keys of connect-redis begin"},
		{Group: group, Name: "session.ttl", Into: &s.ttl, Default: "24h", Min: int64(time.Second), Help: "life of a session whose cookie has no maxAge: ttl of connect-redis"},
		{Group: group, Name: "session.anonymous", Into: &s.anonymous, Help: "let clients in that have no session"},
	}
}

func restKeys(o *options) []settings.Key {
	const group = "REST"
	r := &o.rest
	return []settings.Key{
		{Group: group, Name: "rest.tokens", Into: &r.tokens, Secret: true, Help: "bearer tokens with names and scopes; without any there is no REST interface", Check: o.checkTokens},
		{Group: group, Name: "rest.body", Into: &r.body, Default: "1MB", Min: 1024, Max: 100 << 20, Help: "size of a request"},
		{Group: group, Name: "rest.batch", Into: &r.batch, Default: "100", Min: 1, Max: 10_000, Help: "operations of one batch"},
		{Group: group, Name: "rest.concurrent", Into: &r.concurrent, Default: "64", Min: 1, Max: 100_000, Help: "requests that are answered at a time"},
		{Group: group, Name: "rest.ack-wait", Into: &r.ackWait, Default: "30s", Min: int64(time.Millisecond), Max: int64(writeTime - 10*time.Second), Help: "how long a request may wait for acknowledgements"},
		{Group: group, Name: "rest.replay", Into: &r.replay, Default: "10m", Min: int64(time.Second), Max: int64(24 * time.Hour), Help: "how long the answer to an Idempotency-Key is kept"},
	}
}

func watchKeys(o *options) []settings.Key {
	const group = "Metrics and admin"
	m, a := &o.metrics, &o.admin
	return []settings.Key{
		{Group: group, Name: "metrics.addr", Into: &m.addr, Help: "address of /metrics, /healthz and /readyz alone, as 127.0.0.1:9090; empty: no metrics", Check: func() error { return checkSide(m.addr) }},
		{Group: group, Name: "metrics.events", Into: &m.events, Help: "events of clients whose handlers are timed, each under its name"},
		{Group: group, Name: "admin.users", Flag: "admin", Into: &a.users, Secret: true, Help: "user:bcrypt-hash of who may use the admin page; without any there is none", Check: o.checkAdmin},
		{Group: group, Name: "admin.write", Into: &a.write, Help: "let the admin page emit, and move and disconnect clients"},
		{Group: group, Name: "admin.addr", Into: &a.addr, Help: "address that the admin page must connect to; empty: that of the clients", Check: func() error { return checkSide(a.addr) }},
		{Group: group, Name: "admin.mode", Into: &a.mode, Default: string(admin.Development), Choices: []string{string(admin.Development), string(admin.Production)}, Help: "whether single sockets and events are shown"},
		{Group: group, Name: "admin.ui-dir", Into: &a.uiDir, Help: "directory ui/dist of @socket.io/admin-ui, served at /admin-ui/"},
		{Group: group, Name: "admin.server-id", Into: &a.serverID, Help: "name of this server there; empty: host name and process"},
	}
}

func presenceKeys(o *options) []settings.Key {
	const group = "Presence"
	p := &o.presence
	return []settings.Key{
		{Group: group, Name: "presence.on", Flag: "presence", Into: &p.on, Help: "keep who is online, by user and room, for REST; in the Redis of the cluster if there is one"},
		{Group: group, Name: "presence.expiry", Into: &p.expiry, Default: "30s", Min: int64(time.Second), Max: int64(time.Hour), Help: "how long users of a server that was killed stay online"},
		{Group: group, Name: "presence.grace", Into: &p.grace, Default: "3s", Max: int64(time.Hour), Help: "how long users stay online whose last connection has gone"},
	}
}

// checkSide checks the address of a listener of its own.
func checkSide(addr string) error {
	if addr == "" {
		return nil
	}
	return checkAddr(addr)
}

func (o *options) checkSession() error {
	s := &o.session
	switch {
	case len(s.secrets) == 0:
		return nil
	case o.jwt.given():
		return errors.New("clients are known by tokens or by sessions, not by both")
	case s.redis == "" && o.redis.url == "":
		return errors.New("sessions need a Redis, that of the Express application: set redis.url or session.redis")
	}
	return nil
}

func (o *options) checkTokens() error {
	if len(o.rest.tokens.list) == 0 {
		return nil
	}
	if err := rest.CheckTokens(o.rest.tokens.list); err != nil {
		return errors.New(strings.ReplaceAll(oneLine(err), "rest: ", ""))
	}
	return nil
}

// checkAdmin does not show what is wrong, which may be a password in the place of a hash.
func (o *options) checkAdmin() error {
	a := &o.admin
	users, err := a.byName()
	switch {
	case err != nil:
		return err
	case len(users) == 0 && (a.write || a.addr != "" || a.uiDir != ""):
		return errors.New("admin needs users: --admin user:bcrypt-hash, as htpasswd -nbB prints")
	}
	return nil
}

// byName are the users with their hashes.
func (a *adminOptions) byName() (map[string]string, error) {
	users := map[string]string{}
	for i, text := range a.users {
		name, hash, ok := strings.Cut(text, ":")
		if !ok || name == "" || !strings.HasPrefix(hash, "$2") {
			return nil, fmt.Errorf("user %d is not of the form user:bcrypt-hash, as htpasswd -nbB prints it (quote it: it has dollars)", i+1)
		}
		if users[name] != "" {
			return nil, fmt.Errorf("user %d is there twice", i+1)
		}
		users[name] = hash
	}
	return users, nil
}

// restConfig is for relay.Config.
func (o *options) restConfig(redis rest.Commander, log *slog.Logger) rest.Config {
	r := &o.rest
	return rest.Config{
		Tokens: r.tokens.list, Redis: redis, MaxBody: int64(r.body), MaxBatch: r.batch, MaxConcurrent: r.concurrent,
		MaxAckWait: r.ackWait, Replay: r.replay, Prefix: o.redis.prefix + "-rest:", Logger: log,
	}
}
