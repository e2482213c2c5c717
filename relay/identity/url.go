package identity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
)

// How often the keys of a URL are fetched. One fetch delays the client whose token has asked for it.
const (
	urlEvery   = 10 * time.Minute
	urlUnknown = 10 * time.Second
	urlTime    = 5 * time.Second
)

var (
	errScheme   = errors.New("it must begin with https://, or http:// and an address of this machine")
	errRedirect = errors.New("it leads elsewhere")
)

// urlSource are the keys that an issuer publishes.
func urlSource(raw string, c *http.Client, now func() time.Time, log *slog.Logger) (*source, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errScheme
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return nil, errScheme
	}
	if c == nil {
		// Its connections would outlive what uses it, for a request in ten minutes.
		c = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	}
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return errRedirect }
	f := &fetcher{url: u.String(), client: &own}
	return &source{name: u.Redacted(), log: log, now: now, every: urlEvery, unknown: urlUnknown, read: f.read}, nil
}

// fetcher fetches keys. Their address is that of the configuration, whatever tokens say.
type fetcher struct {
	url    string
	client *http.Client
	last   []byte
}

func (f *fetcher) read() ([]key, error) {
	// Not of the client that has asked: the keys are for all.
	ctx, cancel := context.WithTimeout(context.Background(), urlTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was read only
	if res.StatusCode != http.StatusOK {
		return nil, errors.New("the answer is " + res.Status)
	}
	b, err := readAll(res.Body)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(b, f.last) {
		return nil, nil
	}
	keys, err := parseKeys(b)
	if err == nil {
		f.last = b
	}
	return keys, err
}
