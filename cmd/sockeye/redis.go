package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// redisFlags say which Redis to join and how.
type redisFlags struct {
	url    string // where to publish, and to subscribe if sub is empty
	sub    string // where to subscribe
	mode   string // pubsub, classic, sharded, streams
	prefix string

	subscriptions string // of the mode sharded; "" = dynamic
	streamLength  int    // of the mode streams; 0 = 10,000

	from, subFrom string // where the URLs come from; default: the flags
}

// The modes, as they are shown.
const (
	modePubSub  = "pubsub"
	modeSharded = "sharded"
	modeStreams = "streams"
)

const urlForms = "redis://host:port, redis+sentinel://host:port,host:port/master or redis+cluster://host:port"

// cluster is the Redis to join, or none.
type cluster struct {
	driver redisadapter.StreamDriver // nil: none
	in     adapter.Cluster           // nil: none
	addr   string                    // without user and password
	mode   string
}

// redisCluster gives the cluster of the flags or else of the environment. It does not connect yet.
func redisCluster(f redisFlags, env func(string) string) (cluster, error) {
	c, err := findRedis(f, env)
	if c.driver != nil {
		c.in = adapterFor(c.driver, c.mode, f)
	}
	return c, err
}

// findRedis gives the Redis of the flags or else of the environment, with a driver that is not connected yet.
func findRedis(f redisFlags, env func(string) string) (cluster, error) {
	mode, err := modeOf(f.mode)
	if err != nil {
		return cluster{}, err
	}
	if strings.ContainsFunc(f.prefix, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return cluster{}, usagef("--redis-prefix has control characters")
	}
	from, subFrom := cmp.Or(f.from, "--redis"), cmp.Or(f.subFrom, "--redis-sub")
	if f.url == "" {
		fallback := fromEnv(env)
		f.url, from = fallback.url, fallback.from
		if f.sub == "" {
			f.sub, subFrom = fallback.sub, "SUB_HOST and SUB_PORT"
		}
	}
	switch {
	case f.url != "":
	case f.sub != "":
		return cluster{}, usagef("%s says where to subscribe, but nothing says where to publish: add --redis", subFrom)
	case mode != modePubSub:
		return cluster{}, usagef("--redis-mode %s needs a Redis: add --redis", mode)
	default:
		return cluster{}, nil
	}
	d, err := rueidisdriver.FromURL(f.url)
	if err != nil {
		return cluster{}, badURL(from, err)
	}
	addr := addressOf(f.url)
	if f.sub != "" {
		_ = d.Close() // it was for the check of this URL, and is not connected
		if d, err = rueidisdriver.FromURLs(f.url, f.sub); err != nil {
			return cluster{}, badURL(subFrom, err)
		}
		addr += " (subscribed at " + addressOf(f.sub) + ")"
	}
	return cluster{driver: d, addr: addr, mode: mode}, nil
}

func modeOf(s string) (string, error) {
	switch s {
	case modePubSub, "classic":
		return modePubSub, nil
	case modeSharded, modeStreams:
		return s, nil
	}
	return "", usagef("--redis-mode: %q is none of pubsub, sharded, streams", s)
}

func adapterFor(d redisadapter.StreamDriver, mode string, f redisFlags) adapter.Cluster {
	switch mode {
	case modeSharded:
		return redisadapter.Sharded(d, redisadapter.ShardedOptions{
			ChannelPrefix: f.prefix, Mode: redisadapter.SubscriptionMode(f.subscriptions),
		})
	case modeStreams:
		return redisadapter.Streams(d, redisadapter.StreamsOptions{
			StreamName: f.prefix, ChannelPrefix: f.prefix, MaxLen: f.streamLength,
		})
	default:
		return redisadapter.PubSub(d, redisadapter.PubSubOptions{Key: f.prefix})
	}
}

// badURL makes one line of what is wrong with a URL, without the URL, which may have a password.
func badURL(from string, err error) error {
	return usagef("%s: %s; a URL is %s", from, strings.TrimPrefix(err.Error(), "rueidisdriver: "), urlForms)
}

// addressOf gives what of a URL may be shown: the hosts, or the path of a socket. There may be several hosts, which
// package url does not read.
func addressOf(s string) string {
	_, rest, _ := strings.Cut(s, "://")
	hosts, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		hosts, path = rest[:i], rest[i:]
	}
	hosts = hosts[strings.LastIndexByte(hosts, '@')+1:]
	if hosts == "" {
		path, _, _ = strings.Cut(path, "?")
		return path
	}
	return hosts
}

// envRedis is the Redis that the environment names.
type envRedis struct{ url, sub, from string }

func fromEnv(env func(string) string) envRedis {
	r := envRedis{from: "PUB_HOST and PUB_PORT"}
	if r.url = urlFromEnv(env, "PUB"); r.url == "" {
		r.url, r.from = urlFromEnv(env, "REDIS"), "REDIS_HOST and REDIS_PORT"
	}
	r.sub = urlFromEnv(env, "SUB")
	return r
}

func urlFromEnv(env func(string) string, name string) string {
	host := env(name + "_HOST")
	if host == "" {
		return ""
	}
	port := env(name + "_PORT")
	if port == "" {
		port = "6379"
	}
	if strings.HasPrefix(port, "tcp://") { // Kubernetes sets REDIS_PORT so for a service of the name redis
		port = port[strings.LastIndexByte(port, ':')+1:]
	}
	u := url.URL{Scheme: "redis", Host: net.JoinHostPort(host, port)}
	if password := env("REDIS_PASSWORD"); password != "" {
		u.User = url.UserPassword("", password)
	}
	return u.String()
}

// adapter is what goes into the configuration: nil where there is no cluster.
func (c cluster) adapter() adapter.Cluster { return c.in }

func (c cluster) suffix() string {
	switch {
	case c.in == nil:
		return ""
	case c.mode == modePubSub:
		return ", with Redis at " + c.addr
	default:
		return ", with Redis at " + c.addr + ", " + c.mode
	}
}

// explain makes one clear line of an error at start-up.
func (c cluster) explain(err error) error {
	var why string
	switch {
	case errors.Is(err, redisadapter.ErrNoSharding):
		why = "the mode sharded needs Redis 7: " + cause(err).Error()
	case errors.Is(err, redisadapter.ErrPrefixInUse):
		why = "servers of the mode pubsub use the same names there, choose others by --redis-prefix"
	case !errors.Is(err, redisadapter.ErrUnavailable):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		why = "no answer in time"
	default:
		// Redis repeats what it does not know, which may be somebody's message.
		why, _, _ = strings.Cut(cause(err).Error(), ", with args beginning with")
	}
	return fmt.Errorf("cannot use Redis at %s: %s", c.addr, why)
}

// cause is the innermost error: what lies around it says no more than the line that it is put into.
func cause(err error) error {
	for {
		switch e := err.(type) { //nolint:errorlint // walks the tree by itself
		case interface{ Unwrap() error }:
			inner := e.Unwrap()
			if inner == nil {
				return err
			}
			if _, ok := err.(*net.OpError); ok { //nolint:errorlint // as above
				return err
			}
			err = inner
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			if len(all) == 0 {
				return err
			}
			err = all[len(all)-1]
		default:
			return err
		}
	}
}
