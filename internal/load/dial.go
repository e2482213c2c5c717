package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// target is how a part of the connections gets to the server: by one address of this machine.
type target struct{ transport *http.Transport }

// aim makes the targets.
func (w *worker) aim() error {
	if _, err := url.Parse(w.share.Config.URL); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	cfg := &w.share.Config
	tlsConfig, err := cfg.tls()
	if err != nil {
		return err
	}
	dialers := make([]net.Dialer, max(len(cfg.Sources), 1))
	for i, a := range cfg.Sources {
		dialers[i].LocalAddr = &net.TCPAddr{IP: a.AsSlice()}
	}
	for i := range dialers {
		t := &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialers[i].DialContext,
			TLSClientConfig:     tlsConfig,
			TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1: a load of its own for each
			MaxIdleConnsPerHost: 2 * maxUnderWay,
			IdleConnTimeout:     10 * time.Second,
			DisableCompression:  true,
		}
		if cfg.Target != "" {
			t.Proxy = nil
			t.DialContext = pinned{&dialers[i], cfg.Target}.dial
		}
		w.targets = append(w.targets, target{t})
	}
	return nil
}

func (c Config) tls() (*tls.Config, error) {
	t := &tls.Config{InsecureSkipVerify: c.Insecure, MinVersion: tls.VersionTLS12}
	if c.CA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load: no certificate in %s", c.CA)
	}
	return t, nil
}

// pinned dials one address, whatever it is asked for.
type pinned struct {
	d    *net.Dialer
	addr string
}

func (p pinned) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return p.d.DialContext(ctx, "tcp", p.addr)
}

// dialConfig is how a connection is opened.
func (w *worker) dialConfig(index int) (engineio.DialConfig, string) {
	cfg := &w.share.Config
	hc := &http.Client{
		Transport:     w.targets[index%len(w.targets)].transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	d := engineio.DialConfig{
		Protocol: cfg.EIO, Path: cfg.Path, Header: cfg.Header, HTTPClient: hc, Timeout: cfg.Timeout, Loop: w.loop,
		// What does not fit is not sent, and counted. A connection that cannot keep up is not a lost one.
		Queue: engineio.SendQueue{MaxBytes: 8<<20 + 4*cfg.Payload, MaxPackets: 2 * maxPending, OnFull: engineio.DropNewest},
	}
	switch cfg.Transport {
	case WebSocket:
		d.Transports = []string{WebSocket}
		return d, cfg.URL
	case Polling:
		d.Transports = []string{Polling}
	default:
		d.Transports = []string{Polling, WebSocket}
	}
	// The requests of a connection must come to the same server, which load balancers do by cookies.
	hc.Jar, _ = cookiejar.New(nil) // it fails for no options
	return d, cfg.URL
}

func (w *worker) release() {
	for _, t := range w.targets {
		t.transport.CloseIdleConnections()
	}
}

func (w *worker) decoder() parser.Decoder {
	return w.codec.NewDecoder(parser.Limits{Bytes: -1}, w.revision)
}

// encode gives the one message of a packet, which has no binary.
func (w *worker) encode(p *parser.Packet) []byte {
	p.Namespace = w.share.Config.Namespace
	f, err := w.codec.Encode(p, w.revision)
	if err != nil {
		return nil // cannot be: prepare has tried all parts
	}
	return f.Head
}
