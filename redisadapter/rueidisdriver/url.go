package rueidisdriver

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redis/rueidis"
)

var errURL = errors.New("rueidisdriver: malformed URL")

const (
	kindSingle = iota
	kindSentinel
	kindCluster
)

// FromURL makes a driver from a URL:
//
//	redis://user:password@host:port/database
//	unix://user:password@/path/of/the/socket?db=database
//	redis+sentinel://user:password@host:port,host:port/master/database?sentinel_user=u&sentinel_password=p
//	redis+cluster://user:password@host:port,host:port
//
// With rediss in place of redis it uses TLS, with Sentinels too; valkey and valkeys are the same. Missing are allowed user,
// password, database and port, which is 6379, and 26379 for Sentinels. The query may have protocol=2, client_name,
// dial_timeout and write_timeout (such as 2s) and skip_verify (with TLS).
//
// Errors do not repeat the URL, since it may have a password.
func FromURL(s string) (*Driver, error) {
	o, kind, err := parse(s)
	if err != nil {
		return nil, err
	}
	if kind == kindCluster {
		return NewCluster(o)
	}
	return New(o)
}

// FromURLs makes a driver that publishes to one Redis and subscribes at another, as NewSplit does. Both URLs are those of
// a single Redis, as for FromURL.
func FromURLs(publish, subscribe string) (*Driver, error) {
	p, pubKind, err := parse(publish)
	if err != nil {
		return nil, err
	}
	s, subKind, err := parse(subscribe)
	if err != nil {
		return nil, err
	}
	if pubKind != kindSingle || subKind != kindSingle {
		return nil, errors.New("rueidisdriver: a split is between two single Redis")
	}
	return NewSplit(p, s)
}

func parse(s string) (o rueidis.ClientOption, kind int, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return o, 0, errURL
	}
	base, shape, _ := strings.Cut(scheme, "+")
	switch base {
	case "redis", "rediss", "valkey", "valkeys":
	case "unix":
		if shape != "" {
			return o, 0, errURL
		}
	default:
		return o, 0, fmt.Errorf("rueidisdriver: scheme %q is none of redis, rediss, valkey, valkeys and unix", base)
	}
	port := "6379"
	switch shape {
	case "":
	case "sentinel":
		kind, port = kindSentinel, "26379"
	case "cluster":
		kind = kindCluster
	default:
		return o, 0, fmt.Errorf("rueidisdriver: %q is neither sentinel nor cluster", shape)
	}
	if kind == kindSingle {
		o, err = parseSingle(s)
		return o, kind, err
	}
	o, err = parseSeveral(base, rest, port, kind)
	return o, kind, err
}

func parseSingle(s string) (rueidis.ClientOption, error) {
	u, err := url.Parse(s)
	if err != nil {
		return rueidis.ClientOption{}, errURL
	}
	o, err := rueidis.ParseURL(s)
	if err != nil {
		return rueidis.ClientOption{}, fmt.Errorf("rueidisdriver: URL of %s: malformed database or option", u.Host)
	}
	return o, nil
}

// parseSeveral reads what comes after the scheme where there may be several hosts, which is no URL by the standard.
func parseSeveral(base, rest, port string, kind int) (o rueidis.ClientOption, err error) {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	at := strings.LastIndexByte(authority, '@') + 1
	user, hosts := authority[:at], authority[at:]
	u, err := url.Parse(base + "://" + user + "host" + rest)
	if err != nil {
		return o, errURL
	}
	path := strings.Trim(u.Path, "/")
	set, database, _ := strings.Cut(path, "/")
	switch {
	case kind == kindCluster && path != "" && path != "0":
		return o, errors.New("rueidisdriver: a Redis Cluster has no databases")
	case kind == kindSentinel && set == "":
		return o, errors.New("rueidisdriver: the URL of Sentinels names no master")
	}
	u.Path = "/" + database
	if database == "" {
		u.Path = ""
	}
	if o, err = rueidis.ParseURL(u.String()); err != nil {
		return o, fmt.Errorf("rueidisdriver: URL of %s: malformed database or option", hosts)
	}
	if o.TLSConfig != nil {
		o.TLSConfig.ServerName = "" // each host has its own
	}
	o.InitAddress = nil
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := withPort(host, port)
		if err != nil {
			return o, err
		}
		o.InitAddress = append(o.InitAddress, addr)
	}
	o.Sentinel = rueidis.SentinelOption{}
	if kind == kindSentinel {
		q := u.Query()
		o.Sentinel = rueidis.SentinelOption{
			MasterSet: set, Username: q.Get("sentinel_user"), Password: q.Get("sentinel_password"),
			TLSConfig: o.TLSConfig, Dialer: o.Dialer,
		}
	}
	return o, nil
}

func withPort(host, port string) (string, error) {
	u, err := url.Parse("redis://" + host) // checks it
	if err != nil || u.Host != host || u.Hostname() == "" || strings.ContainsAny(u.Hostname(), "[]") {
		return "", errURL
	}
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
