package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Certificate is a TLS certificate in files that may be replaced at any time. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]

	mu        sync.Mutex // serializes Reload
	cert, key []byte     // what was read last, good or bad
}

// OpenCertificate reads a certificate, with its chain, and its key from files in PEM form.
func OpenCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	_, err := c.Reload()
	return c, err
}

// Reload reads the files again and tells whether there is another certificate now. With an error the old one stays.
func (c *Certificate) Reload() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, fmt.Errorf("front: certificate: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("front: certificate: %w", err)
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return false, nil
	}
	c.cert, c.key = cert, key
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("front: certificate: %s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&pair)
	return true, nil
}

// NotAfter is when the certificate expires.
func (c *Certificate) NotAfter() time.Time {
	if pair := c.current.Load(); pair != nil && pair.Leaf != nil {
		return pair.Leaf.NotAfter
	}
	return time.Time{}
}

// Config is a configuration for a server, which uses the certificate of the moment, TLS 1.2 or later, and HTTP/1.1
// only: a WebSocket needs a connection of its own, and a browser that has one of HTTP/2 would not use it for that.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// Watch reloads the certificate in that interval, and whenever there is something in now, until ctx ends.
func (c *Certificate) Watch(ctx context.Context, every time.Duration, now <-chan os.Signal, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-now:
		}
		switch changed, err := c.Reload(); {
		case err != nil:
			log.LogAttrs(ctx, slog.LevelError, "new certificate cannot be used, the old one stays",
				slog.Any("error", err), slog.Time("expires", c.NotAfter()))
		case changed:
			log.LogAttrs(ctx, slog.LevelInfo, "new certificate", slog.Time("expires", c.NotAfter()))
		}
	}
}
