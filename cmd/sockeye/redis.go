package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// cluster is the Redis to join, or none.
type cluster struct {
	in   adapter.Cluster // nil: none
	addr string          // without user and password
}

// redisCluster gives the cluster of the flag --redis or else of the environment. It does not connect yet.
func redisCluster(flag string, env func(string) string) (cluster, error) {
	where, from := flag, "--redis"
	if where == "" {
		where, from = urlFromEnv(env), "REDIS_HOST and REDIS_PORT"
	}
	if where == "" {
		return cluster{}, nil
	}
	u, err := url.Parse(where)
	if err != nil {
		// The error of url.Parse has the URL in it, and that may have a password.
		return cluster{}, usagef("%s: not a URL such as redis://host:port", from)
	}
	d, err := rueidisdriver.FromURL(where)
	if err != nil {
		return cluster{}, usagef("%s: %s is not a URL such as redis://host:port", from, u.Redacted())
	}
	addr := u.Host
	if addr == "" {
		addr = u.Path // unix://
	}
	return cluster{redisadapter.PubSub(d, redisadapter.PubSubOptions{}), addr}, nil
}

func urlFromEnv(env func(string) string) string {
	host := env("REDIS_HOST")
	if host == "" {
		return ""
	}
	port := env("REDIS_PORT")
	if port == "" {
		port = "6379"
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
	if c.in == nil {
		return ""
	}
	return ", with Redis at " + c.addr
}

// explain makes one clear line of an error at start-up.
func (c cluster) explain(err error) error {
	if errors.Is(err, redisadapter.ErrUnavailable) && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot use Redis at %s: no answer in time", c.addr)
	}
	if errors.Is(err, redisadapter.ErrUnavailable) {
		return fmt.Errorf("cannot use Redis at %s: %w", c.addr, cause(err))
	}
	return err
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
