package redisproto

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"testing"
)

// What was not sent when a connection is closed is not sent any more.
func TestAbrupt(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain": func(c net.Conn) net.Conn { return c },
		"tls":   func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{ServerName: "redis"}) },
	} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		nc, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		c := wrap(nc)
		Abrupt(c)
		_ = c.Close()
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the other side sees %v", name, err)
		}
	}
	one, other := net.Pipe()
	defer other.Close()
	Abrupt(one) // of no effect
	if err := one.Close(); err != nil {
		t.Error(err)
	}
}
