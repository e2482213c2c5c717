package main

import (
	"errors"
	"net/url"
	"strings"
)

// redisFromEnv is the Redis that PUB_HOST or REDIS_HOST name.
func redisFromEnv(env func(string) string) (text, from string, err error) {
	r := fromEnv(withoutPassword(env))
	return r.url, r.from, nil
}

// subFromEnv is the replica that SUB_HOST names.
func subFromEnv(env func(string) string) (text, from string, err error) {
	return fromEnv(withoutPassword(env)).sub, "SUB_HOST and SUB_PORT", nil
}

// passwordFromEnv: the password is a setting of its own.
func passwordFromEnv(env func(string) string) (text, from string, err error) {
	return env("REDIS_PASSWORD"), "REDIS_PASSWORD", nil
}

func withoutPassword(env func(string) string) func(string) string {
	return func(name string) string {
		if name == "REDIS_PASSWORD" {
			return ""
		}
		return env(name)
	}
}

// setPassword puts the password into the URLs that have none.
func (o *options) setPassword() error {
	if o.redisPassword == "" {
		return nil
	}
	for _, u := range []*string{&o.redis.url, &o.redis.sub} {
		if *u == "" {
			continue
		}
		with, ok := withPassword(*u, o.redisPassword)
		if !ok {
			return usageError{errors.New("redis.password: a URL of Redis that is no URL cannot have it")}
		}
		*u = with
	}
	return nil
}

// withPassword gives a URL with the password, unless it has one. There may be several hosts, which package url does not
// read.
func withPassword(u, password string) (with string, ok bool) {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		return u, false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	user, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, hosts = authority[:i], authority[i+1:]
	}
	if strings.Contains(user, ":") {
		return u, true
	}
	secret := url.UserPassword("", password).String() // ":" and the password, escaped
	return scheme + "://" + user + secret + "@" + hosts + tail, true
}
