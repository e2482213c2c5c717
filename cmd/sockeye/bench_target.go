package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
)

const resolveTime = 10 * time.Second

// aim finds where the load goes, refuses what needs --yes, and fits the load into the limits of this machine.
func (o *benchOptions) aim(ctx context.Context) error {
	u, err := url.Parse(o.load.URL)
	if err != nil {
		return usagef("the URL cannot be read")
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil || len(addrs) == 0 {
		return fmt.Errorf("cannot resolve %s", harmless(u.Hostname()))
	}
	private := true
	for i, a := range addrs {
		addrs[i] = a.Unmap()
		private = private && addrs[i].IsLoopback()
	}
	if !private && !o.yes {
		return usagef("%s is not on this machine: add --yes if you may put load on it", harmless(u.Host))
	}
	var to netip.Addr
	if private {
		// What was found to be here is what is used, whatever the name resolves to later.
		port := portOf(u)
		to = answering(ctx, addrs, port)
		o.load.Target = net.JoinHostPort(to.String(), port)
	}
	return o.fit(to)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https" || u.Scheme == "wss":
		return "443"
	}
	return "80"
}

// answering gives the first of the addresses that takes connections, or else the first.
func answering(ctx context.Context, addrs []netip.Addr, port string) netip.Addr {
	if len(addrs) > 1 {
		for _, a := range addrs {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port))
			if err == nil {
				_ = c.Close() // it was only to see
				return a
			}
		}
	}
	return addrs[0]
}

// fit divides the load such that it is within the limits. to is where it goes; it is not valid for another machine.
func (o *benchOptions) fit(to netip.Addr) error {
	files, ports := load.Files(), load.Ports()
	need := o.load.FitFiles(files)
	switch {
	case o.procs == 0:
		o.procs = min(need, maxProcs)
	case o.procs < need:
		return usagef("a process may open %d files: %d connections need --procs %d", files, o.load.Connections, need)
	}
	o.load.Sources = o.load.FitPorts(to, ports)
	var b strings.Builder
	b.WriteString("limits: ")
	if files == 0 {
		b.WriteString("files without limit")
	} else {
		fmt.Fprintf(&b, "%d open files for each of %s", files, counted(o.procs, "process", "processes"))
	}
	fmt.Fprintf(&b, ", %d ports for ", ports)
	switch n := len(o.load.Sources); {
	case n > 0:
		fmt.Fprintf(&b, "each of the addresses %v to %v", o.load.Sources[0], o.load.Sources[n-1])
	case o.load.Connections > ports:
		b.WriteString("one address: not enough, connections will fail")
	default:
		b.WriteString("one address")
	}
	o.limits = b.String()
	return nil
}

// counted gives a number with its word.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
