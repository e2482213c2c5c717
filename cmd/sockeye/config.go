package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/front"
	"github.com/sockeye-io/sockeye/internal/settings"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// variables begins the names of the environment's variables for settings.
const variables = "SOCKEYE_"

// options are the settings of "serve".
type options struct {
	name       string
	addr       string
	open       bool
	unixMode   string
	basePath   string
	proxies    []string
	drain      time.Duration
	drainDelay time.Duration

	tlsCert, tlsKey string
	tlsReload       time.Duration

	origins     []string
	credentials bool
	clientDir   string

	redis         redisFlags
	redisPassword string

	recovery    time.Duration
	transports  []string
	eio3        bool
	compression bool
	interval    time.Duration
	timeout     time.Duration

	limits limits

	jwt     jwtOptions
	session sessionOptions
	rooms   roomOptions
	rest    restOptions
	metrics metricsOptions
	admin   adminOptions

	presence presenceOptions

	logFormat, logLevel string
}

// limits are those of T13 to T15, and what one client can make the server keep.
type limits struct {
	connections, perAddress, handshakes, pending int
	connect, header, idle                        time.Duration
	messages                                     int
	bytes                                        settings.Size
	burst                                        time.Duration
	payload                                      settings.Size
	queueBytes                                   settings.Size
	queuePackets                                 int
	namespaces, rooms, acks, inbox, attachments  int
}

// newSettings makes the table of all settings with their defaults in o.
func newSettings(o *options) (*settings.Set, error) {
	keys := append(listenKeys(o), clusterKeys(o)...)
	keys = append(keys, protocolKeys(o)...)
	keys = append(keys, limitKeys(o)...)
	keys = append(keys, identityKeys(o)...)
	keys = append(keys, sessionKeys(o)...)
	keys = append(keys, roomKeys(o)...)
	keys = append(keys, restKeys(o)...)
	keys = append(keys, presenceKeys(o)...)
	keys = append(keys, watchKeys(o)...)
	keys = append(keys, logKeys(o)...)
	return settings.New(variables, keys)
}

func listenKeys(o *options) []settings.Key {
	const group = "Listening"
	return []settings.Key{
		{
			Group: group, Name: "addr", Into: &o.addr, Default: defaultAddr,
			Help:      "address to listen on, host:port or unix:/path; port 0 picks a free one",
			Variables: []string{"PORT"}, Derive: addrFromEnv, Check: func() error { return checkAddr(o.addr) },
		},
		{Group: group, Name: "name", Into: &o.name, Help: "name of this server in the log and on the page, which makes one up if it is empty"},
		{Group: group, Name: "open", Into: &o.open, Help: "allow an address that other machines can reach although nobody is asked who they are"},
		{Group: group, Name: "unix-mode", Into: &o.unixMode, Default: "0660", Help: "permissions of a Unix socket", Check: o.checkUnixMode},
		{Group: group, Name: "base-path", Into: &o.basePath, Default: "/", Help: "path below which everything is served", Check: func() error {
			_, err := front.BasePath(o.basePath)
			return plain(err)
		}},
		{
			Group: group, Name: "trusted-proxies", Into: &o.proxies,
			Help: "proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses, networks such as 10.0.0.0/8, unix",
			Check: func() error {
				_, err := front.ParseProxies(o.proxies)
				return plain(err)
			},
		},
		{Group: group, Name: "drain-timeout", Into: &o.drain, Default: "10s", Min: 1, Max: int64(time.Hour), Help: "how long clients, handlers and acknowledgements have after SIGTERM"},
		{Group: group, Name: "drain-delay", Into: &o.drainDelay, Default: "0s", Max: int64(time.Hour), Help: "how long /readyz fails before that while all else goes on"},
		{Group: group, Name: "tls.cert", Into: &o.tlsCert, Help: "file with the certificate and its chain (PEM)", Check: o.checkTLS},
		{Group: group, Name: "tls.key", Into: &o.tlsKey, Help: "file with its key (PEM)"},
		{Group: group, Name: "tls.reload", Into: &o.tlsReload, Default: "30s", Min: int64(time.Second), Max: int64(24 * time.Hour), Help: "how often to look for a new certificate; SIGHUP does so at once"},
	}
}

func clusterKeys(o *options) []settings.Key {
	const group = "Redis"
	return []settings.Key{
		{
			Group: group, Name: "redis.url", Flag: "redis", Into: &o.redis.url, URL: true,
			Help:      "URL of the Redis that connects several servers, as redis://host:port",
			Variables: []string{"PUB_HOST", "PUB_PORT", "REDIS_HOST", "REDIS_PORT"}, Derive: redisFromEnv,
		},
		{
			Group: group, Name: "redis.sub", Into: &o.redis.sub, URL: true,
			Help:      "URL of a replica of it to subscribe at; empty: the same",
			Variables: []string{"SUB_HOST", "SUB_PORT"}, Derive: subFromEnv,
		},
		{
			Group: group, Name: "redis.password", Into: &o.redisPassword, Secret: true,
			Help:      "password for the URLs that have none",
			Variables: []string{"REDIS_PASSWORD"}, Derive: passwordFromEnv,
		},
		{
			Group: group, Name: "redis.mode", Into: &o.redis.mode, Default: modePubSub,
			Help: "how to use it", Choices: []string{modePubSub, "classic", modeSharded, modeStreams},
		},
		{
			Group: group, Name: "redis.subscriptions", Into: &o.redis.subscriptions, Default: string(redisadapter.DynamicSubscriptions),
			Help: "what the servers of the mode sharded subscribe to, as subscriptionMode of Node", Choices: []string{
				string(redisadapter.StaticSubscriptions), string(redisadapter.DynamicSubscriptions), string(redisadapter.DynamicPrivateSubscriptions),
			},
		},
		{Group: group, Name: "redis.stream-length", Into: &o.redis.streamLength, Default: "10000", Min: 100, Max: 1 << 30, Unit: "entries", Help: "length of the stream, about; who is further behind is not recovered"},
		{Group: group, Name: "redis.prefix", Into: &o.redis.prefix, Default: "socket.io", Help: "how the names of channels and of the stream start"},
	}
}

func protocolKeys(o *options) []settings.Key {
	const group = "Clients"
	return []settings.Key{
		{
			Group: group, Name: "origins", Flag: "origin", Into: &o.origins,
			Help: "origins whose pages may connect, as https://example.com", Check: func() error { return checkOrigins(o) },
		},
		{Group: group, Name: "origin-credentials", Into: &o.credentials, Help: "let pages of these origins send cookies"},
		{Group: group, Name: "client-dir", Into: &o.clientDir, Help: "directory with socket.io.js (default: the one of web/node_modules if it is there)"},
		{Group: group, Name: "recovery", Into: &o.recovery, Default: "0s", Max: int64(24 * time.Hour), Help: "how long a client may be away and get what it missed, such as 2m; 0s = off; not with the modes pubsub and sharded"},
		{Group: group, Name: "transports", Into: &o.transports, Default: "polling,websocket", Choices: []string{"polling", "websocket"}, Help: "transports to offer"},
		{Group: group, Name: "eio3", Into: &o.eio3, Default: "true", Help: "serve clients of Socket.IO 2.x too"},
		{Group: group, Name: "compression", Into: &o.compression, Help: "offer compression of WebSocket messages"},
		{Group: group, Name: "ping-interval", Into: &o.interval, Default: "25s", Min: int64(time.Second), Max: int64(time.Hour), Help: "time between heartbeats"},
		{Group: group, Name: "ping-timeout", Into: &o.timeout, Default: "20s", Min: int64(time.Second), Max: int64(time.Hour), Help: "how long a heartbeat may take"},
	}
}

func limitKeys(o *options) []settings.Key {
	const group = "Limits"
	l := &o.limits
	const most = 1 << 30
	return []settings.Key{
		{Group: group, Name: "limits.connections", Into: &l.connections, Default: "50000", Min: 1, Max: most, Help: "clients at a time; never more than open files allow"},
		{Group: group, Name: "limits.connections-per-address", Into: &l.perAddress, Default: "1000", Max: most, Help: "clients at a time of one address, and as many plain HTTP connections; 0 = no limit"},
		{Group: group, Name: "limits.handshakes", Into: &l.handshakes, Default: "1000", Max: most, Unit: "a second", Help: "new clients; 0 = no limit"},
		{Group: group, Name: "limits.pending", Into: &l.pending, Default: "5000", Max: most, Help: "clients that have joined no namespace yet; 0 = no limit"},
		{Group: group, Name: "limits.connect-timeout", Into: &l.connect, Default: "10s", Min: 1, Max: int64(time.Hour), Help: "how long a client may take to join one"},
		{Group: group, Name: "limits.header-timeout", Into: &l.header, Default: "5s", Min: 1, Max: int64(time.Minute), Help: "how long the header of a request may take, and a TLS handshake"},
		{Group: group, Name: "limits.idle-timeout", Into: &l.idle, Default: "2m", Min: 1, Max: int64(time.Hour), Help: "how long an HTTP connection may wait for a request"},
		{Group: group, Name: "limits.messages", Into: &l.messages, Default: "1000", Max: most, Unit: "a second", Help: "messages of one client; faster ones are read more slowly; 0 = no limit"},
		{Group: group, Name: "limits.bytes", Into: &l.bytes, Default: "4MiB", Max: 1 << 40, Unit: "a second", Help: "bytes of one client; likewise"},
		{Group: group, Name: "limits.burst", Into: &l.burst, Default: "1s", Min: 1, Max: int64(time.Hour), Help: "the time whose messages and bytes may come at once"},
		{Group: group, Name: "limits.payload", Into: &l.payload, Default: "1MB", Min: 1024, Max: most, Help: "size of a message and of a request"},
		{Group: group, Name: "limits.queue-bytes", Into: &l.queueBytes, Default: "1MB", Min: 1024, Max: most, Help: "bytes that wait for one client, which is cut off beyond that"},
		{Group: group, Name: "limits.queue-packets", Into: &l.queuePackets, Default: "1024", Min: 1, Max: most, Help: "packets that wait for one client; likewise"},
		{Group: group, Name: "limits.namespaces", Into: &l.namespaces, Default: "100", Min: 1, Max: most, Help: "namespaces of one client"},
		{Group: group, Name: "limits.rooms", Into: &l.rooms, Default: "1000", Min: 1, Max: most, Help: "rooms of one client"},
		{Group: group, Name: "limits.acks", Into: &l.acks, Default: "10000", Min: 1, Max: most, Help: "acknowledgements of one client that are waited for"},
		{Group: group, Name: "limits.inbox", Into: &l.inbox, Default: "256", Min: 2, Max: most, Help: "events of one client that wait to be handled before it is read no further"},
		{Group: group, Name: "limits.attachments", Into: &l.attachments, Default: "10", Min: 1, Max: most, Help: "attachments of one packet"},
	}
}

func logKeys(o *options) []settings.Key {
	const group = "Log"
	return []settings.Key{
		{Group: group, Name: "log.format", Into: &o.logFormat, Default: "text", Choices: []string{"text", "json"}, Help: "form of the lines"},
		{Group: group, Name: "log.level", Into: &o.logLevel, Default: "info", Choices: []string{"debug", "info", "warn", "error"}, Help: "what is logged"},
	}
}

// plain takes the name of the package from an error.
func plain(err error) error {
	if err == nil {
		return nil
	}
	_, rest, ok := strings.Cut(err.Error(), ": ")
	if !ok {
		return err
	}
	return errors.New(rest)
}

// addrFromEnv is the default address with the port that PORT says.
func addrFromEnv(env func(string) string) (addr, from string, err error) {
	port := env("PORT")
	if port == "" {
		return "", "", nil
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("PORT is %q, not a port number", port)
	}
	return net.JoinHostPort("127.0.0.1", port), "PORT", nil
}

func checkAddr(addr string) error {
	if path, unix := front.UnixPath(addr); unix {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q is not the whole path of a socket, such as unix:/run/sockeye.sock", addr)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port number", port)
	}
	return nil
}

func (o *options) checkUnixMode() error {
	if n, err := strconv.ParseUint(o.unixMode, 8, 32); err != nil || n > 0o777 || n&0o600 != 0o600 {
		return fmt.Errorf("%q is none such as 0660, with which this server can use it", o.unixMode)
	}
	return nil
}

// socketMode is that of checkUnixMode.
func (o *options) socketMode() fs.FileMode {
	n, _ := strconv.ParseUint(o.unixMode, 8, 32) // checked
	return fs.FileMode(n)
}

func (o *options) checkTLS() error {
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return errors.New("a certificate and its key belong together: give tls.cert and tls.key")
	}
	return nil
}

// checkOrigins finds a malformed origin before anything else is begun.
func checkOrigins(o *options) error {
	s, err := sockeye.New(sockeye.Config{Origin: o.origin()})
	if err != nil {
		return cause(err)
	}
	return s.Close()
}

func (o *options) origin() sockeye.OriginPolicy {
	return sockeye.OriginPolicy{Allow: o.origins, Credentials: o.credentials}
}

// filesInReserve are for Redis, logs, certificates and the like.
const filesInReserve = 128

// connections bounds clients, and with plain HTTP connections all together: both are open files.
func (o *options) connections() (clients, all int) {
	clients = o.limits.connections
	files := front.MaxFiles()
	if files == 0 {
		return clients, 0
	}
	all = max(files-filesInReserve, files/2)
	return min(clients, all), all
}

// config has what the settings say of the Socket.IO server beneath.
func (o *options) config() sockeye.Config {
	l := &o.limits
	clients, _ := o.connections()
	c := sockeye.Config{
		Transports: o.transports, PerMessageDeflate: o.compression,
		PingInterval: o.interval, PingTimeout: o.timeout, ConnectTimeout: l.connect,
		MaxPayload: int64(l.payload),
		Queue:      sockeye.SendQueue{MaxBytes: int(l.queueBytes), MaxPackets: l.queuePackets},
		Limits: sockeye.Limits{
			Namespaces: l.namespaces, Rooms: l.rooms, Acks: l.acks, Inbox: l.inbox, Attachments: l.attachments,
		},
		Rate: sockeye.Rate{Messages: l.messages, Bytes: int(l.bytes), Burst: l.burst},
		Admission: sockeye.Admission{
			Connections: clients, PerAddress: l.perAddress, Handshakes: l.handshakes, Pending: l.pending,
		},
	}
	if o.recovery > 0 {
		c.Recovery = &sockeye.Recovery{MaxDisconnection: o.recovery}
	}
	return c
}

// client is the directory that the browser client is served from. asked tells that one was given; without it the
// places where npm puts the client in this project are tried, and "" means the CDN.
func (o *options) client(asked bool) (string, error) {
	const script = "socket.io.js"
	if asked {
		if o.clientDir == "" {
			return "", nil
		}
		if _, err := os.Stat(filepath.Join(o.clientDir, script)); err != nil {
			return "", fmt.Errorf("no %s in %s", script, o.clientDir)
		}
		return o.clientDir, nil
	}
	near := []string{"."}
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		near = append(near, dir, filepath.Dir(dir))
	}
	for _, dir := range near {
		dir = filepath.Join(dir, "web", "node_modules", "socket.io-client", "dist")
		if _, err := os.Stat(filepath.Join(dir, script)); err == nil {
			return dir, nil
		}
	}
	return "", nil
}

// hupIsThere tells whether the system has the signal that asks for new certificates.
const hupIsThere = runtime.GOOS != "windows" && runtime.GOOS != "plan9"
