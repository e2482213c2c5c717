// Package front has what a server for strangers needs around its handler: listening also on a Unix socket, TLS with
// certificates that are exchanged while it runs, the addresses of clients behind proxies, bounds on plain HTTP
// connections, a base path, readiness.
//
// Not in this package: Socket.IO, and where the settings come from.
package front

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// unixPrefix begins the address of a Unix socket.
const unixPrefix = "unix:"

// UnixPath gives the path of an address "unix:/path", and whether it is one.
func UnixPath(addr string) (path string, ok bool) { return strings.CutPrefix(addr, unixPrefix) }

// Listen listens on "host:port", or on "unix:/path" with the given permissions. A socket file that nobody listens on any
// more is replaced. It goes when the listener is closed.
func Listen(ctx context.Context, addr string, mode fs.FileMode) (net.Listener, error) {
	path, unix := UnixPath(addr)
	if !unix {
		return new(net.ListenConfig).Listen(ctx, "tcp", addr)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes the socket of a server that was killed, and nothing else.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("a server listens on %s already", path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
