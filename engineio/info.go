package engineio

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// The opening request is kept as one string, since an idle connection is to be small: lines of the target, the
// address, "1" for a secure connection, and then a line for each header, "Key: value". No part can contain a line end:
// net/http refuses such requests, and others are cut.

// packRequest makes the blob of r.
func packRequest(r *http.Request, addr string, secure bool) string {
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI()
	}
	size := len(target) + len(addr) + len(r.Host) + 12
	for k, vs := range r.Header {
		for _, v := range vs {
			size += len(k) + len(v) + 3
		}
	}
	var b strings.Builder
	b.Grow(size)
	line := func(parts ...string) {
		for _, s := range parts {
			if strings.IndexByte(s, '\n') >= 0 {
				s = strings.ReplaceAll(s, "\n", " ")
			}
			b.WriteString(s)
		}
		b.WriteByte('\n')
	}
	line(target)
	line(addr)
	if secure {
		line("1")
	} else {
		line("")
	}
	if r.Host != "" {
		line("Host: ", r.Host)
	}
	for k, vs := range r.Header {
		for _, v := range vs {
			line(k, ": ", v)
		}
	}
	return b.String()
}

// info gives the line of the blob.
func (c *Conn) info(n int) string {
	rest := c.blob
	for {
		line, after, _ := strings.Cut(rest, "\n")
		if n == 0 {
			return line
		}
		n--
		rest = after
	}
}

// Header gives the headers of the opening request, the host too, built anew by each call.
func (c *Conn) Header() http.Header {
	h := http.Header{}
	rest := c.blob
	for n := 0; rest != ""; n++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if n < 3 {
			continue
		}
		k, v, _ := strings.Cut(line, ": ")
		h[k] = append(h[k], v)
	}
	return h
}

// Query gives the query of the opening request, the last value of each key, built anew by each call.
func (c *Conn) Query() map[string]string {
	m := map[string]string{}
	_, query, _ := strings.Cut(c.info(0), "?")
	eachParameter(query, func(k, v string) { m[unescapeQuery(k)] = unescapeQuery(v) })
	return m
}

// URL is the target of the opening request.
func (c *Conn) URL() string { return c.info(0) }

// RemoteAddr is the peer's address without the port. See Config.TrustProxy.
func (c *Conn) RemoteAddr() string { return c.info(1) }

// Secure tells whether the opening request came over TLS. See Config.TrustProxy.
func (c *Conn) Secure() bool { return c.info(2) == "1" }

// remote gives the address of the peer and whether it speaks TLS.
func (s *Server) remote(r *http.Request) (addr string, secure bool) {
	addr = r.RemoteAddr
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	secure = r.TLS != nil
	if s.cfg.TrustProxy == nil || !s.trusts(r) {
		return addr, secure
	}
	// The proxy appends: what stands before the last address may be made up by the client.
	if vs := r.Header["X-Forwarded-For"]; len(vs) > 0 {
		list := vs[len(vs)-1]
		last := strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
		if _, err := netip.ParseAddr(last); err == nil {
			addr = last
		}
	}
	if vs := r.Header["X-Forwarded-Proto"]; len(vs) > 0 {
		proto := strings.TrimSpace(vs[len(vs)-1])
		secure = strings.EqualFold(proto, "https") || strings.EqualFold(proto, "wss")
	}
	return addr, secure
}

// eachParameter gives the keys and values of a query, escaped, in order.
func eachParameter(query string, f func(key, value string)) {
	for query != "" {
		var part string
		part, query, _ = strings.Cut(query, "&")
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		f(k, v)
	}
}

// unescapeQuery decodes a part of a query; one that cannot be decoded stays as it is.
func unescapeQuery(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
