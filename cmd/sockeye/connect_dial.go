package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

// dialFlags say how a client reaches its server.
type dialFlags struct {
	path, auth, protocol, parser, ca string
	headers, query, transports       []string
	insecure                         bool
}

// dialFlagNames are those flags.
var dialFlagNames = []string{
	"path", "auth", "protocol", "parser", "ca", "header", "query", "transport", "insecure",
}

func (f *dialFlags) register(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.path, "path", "/socket.io/", "path of the server's requests")
	s.StringVar(&f.auth, "auth", "", "what to present at the namespace: a JSON object, or @FILE with one")
	s.StringVar(&f.protocol, "protocol", "4", "version of Socket.IO of the server: 4 (also for 3), or 2")
	s.StringVar(&f.parser, "parser", "json", "encoding of packets: json or msgpack")
	s.StringVar(&f.ca, "ca", "", "file with the certificates to trust, instead of those of the system")
	s.StringArrayVar(&f.headers, "header", nil, `header of each request, as "Name: value"; repeatable`)
	s.StringArrayVar(&f.query, "query", nil, "part of the query of each request, as name=value; repeatable")
	s.StringArrayVar(&f.transports, "transport", nil,
		"polling or websocket; repeatable: start with the first (default: polling, then websocket)")
	s.BoolVar(&f.insecure, "insecure", false, "take any certificate of the server")
	for name, values := range map[string][]string{
		"protocol": {"4", "2"}, "parser": {"json", "msgpack"}, "transport": {"polling", "websocket"},
	} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
}

// destination is what a client connects to.
type destination struct {
	url       string // with the namespace as its path
	host      string // to be shown
	namespace string
	config    client.Config
}

// find reads the flags. Its errors are faults in usage.
func (f *dialFlags) find(rawURL string, namespace *pflag.Flag, timeout time.Duration) (destination, error) {
	s, err := parsePlace(rawURL, namespace)
	if err != nil {
		return s, err
	}
	if timeout <= 0 {
		return s, usagef("--timeout must be more than 0")
	}
	c := &s.config
	c.Path, c.Timeout, c.AckTimeout = f.path, timeout, timeout
	for _, t := range f.transports {
		if t != "polling" && t != "websocket" {
			return s, usagef("--transport: %q is none of polling, websocket", t)
		}
	}
	c.Transports = f.transports
	switch f.protocol {
	case "3", "4":
	case "2":
		c.EIO3 = true
	default:
		return s, usagef("--protocol: %q is none of 2, 4", f.protocol)
	}
	switch f.parser {
	case "json":
	case "msgpack":
		c.Parser = msgpack.New()
	default:
		return s, usagef("--parser: %q is none of json, msgpack", f.parser)
	}
	if c.Header, err = parseHeaders(f.headers); err != nil {
		return s, err
	}
	if c.Query, err = parseQuery(f.query); err != nil {
		return s, err
	}
	if err := f.setAuth(c); err != nil {
		return s, err
	}
	return s, f.setTLS(c)
}

// parsePlace reads the URL, whose path is the namespace unless the flag says it.
func parsePlace(rawURL string, namespace *pflag.Flag) (destination, error) {
	if !strings.Contains(rawURL, "://") {
		rawURL = "http://" + rawURL
	}
	u, err := url.Parse(rawURL)
	if err != nil { // not what url says: it has the URL, and so the password in it
		return destination{}, usagef("the URL cannot be read: it is http://host:port, with a namespace as its path if there is one")
	}
	if !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) || u.Host == "" {
		return destination{}, usagef("a URL is http://host:port, https://host, ws://host or wss://host")
	}
	s := destination{host: u.Host, namespace: u.Path}
	if s.namespace == "" {
		s.namespace = "/"
	}
	if n := namespace.Value.String(); namespace.Changed && n != s.namespace {
		if !strings.HasPrefix(n, "/") {
			n = "/" + n
		}
		if s.namespace != "/" && s.namespace != n {
			return s, usagef("the URL names the namespace %s, and --namespace %s", quoted(s.namespace), quoted(n))
		}
		s.namespace = n
	}
	if len(s.namespace) > parser.MaxNamespace || strings.Contains(s.namespace, ",") {
		return s, usagef("not the name of a namespace: %s", quoted(cut(s.namespace, valueSize)))
	}
	u.Path, u.RawPath, u.Fragment = s.namespace, "", ""
	s.url = u.String()
	return s, nil
}

func parseHeaders(lines []string) (http.Header, error) {
	h := http.Header{}
	for i, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		token := func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
		}
		control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
		if !ok || name == "" || strings.ContainsFunc(name, token) || strings.ContainsFunc(value, control) {
			return nil, usagef(`--header: number %d is not "Name: value"`, i+1) // without it: it may be a secret
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

func parseQuery(pairs []string) (url.Values, error) {
	q := url.Values{}
	for i, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usagef("--query: number %d is not name=value", i+1)
		}
		q.Add(name, value)
	}
	return q, nil
}

func (f *dialFlags) setAuth(c *client.Config) error {
	if f.auth == "" {
		return nil
	}
	if c.EIO3 {
		return usagef("--auth is of Socket.IO 3 and later: with --protocol 2 use --query or --header")
	}
	text := []byte(f.auth)
	if file, ok := strings.CutPrefix(f.auth, "@"); ok {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return usagef("--auth: %w", err)
		}
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal(text, &o); err != nil || o == nil {
		return usagef("--auth is not a JSON object") // without it: it is a secret
	}
	c.Auth = parser.RawJSON(text)
	return nil
}

func (f *dialFlags) setTLS(c *client.Config) error {
	if f.ca != "" && f.insecure {
		return usagef("--ca and --insecure exclude each other")
	}
	if f.insecure {
		c.TLS = &tls.Config{InsecureSkipVerify: true} // that is what was asked for
	}
	if f.ca == "" {
		return nil
	}
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return usagef("--ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return usagef("--ca: no certificate in %s", f.ca)
	}
	c.TLS = &tls.Config{RootCAs: roots}
	return nil
}

// explain makes one clear line of why there is no connection.
func (s destination) explain(err error) error {
	if e, ok := errors.AsType[*client.ConnectError](err); ok {
		why := harmless(cut(e.Message, 4*sampleSize))
		if why == "" {
			why = "no reason given"
		}
		if !e.Data.IsZero() {
			why += " " + cut(plainArg(e.Data), 1000)
		}
		return fmt.Errorf("%s refuses the namespace %s: %s", s.host, quoted(s.namespace), why)
	}
	switch {
	case errors.Is(err, client.ErrOldServer):
		return fmt.Errorf("%s is a server of Socket.IO 2: add --protocol 2", s.host)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no connection to %s in time", s.host)
	}
	hint := ""
	if e, ok := errors.AsType[*engineio.TransportError](err); ok && e.Status == http.StatusOK && !s.config.EIO3 {
		hint = "; if it is a server of Socket.IO 2, add --protocol 2" // it has answered, and not in our protocol
	}
	return fmt.Errorf("cannot connect to %s: %s%s", s.host, reasonOf(err), hint)
}

// reasonOf is the text of an error without the names of packages, and without the URL, which may have secrets.
func reasonOf(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*net.OpError](err); ok {
		text = e.Error()
	} else if e, ok := errors.AsType[*url.Error](err); ok {
		text = e.Err.Error()
	} else if e, ok := errors.AsType[*engineio.TransportError](err); ok {
		text = e.Error()
	}
	for _, p := range []string{"client: ", "connect: ", "engineio: "} {
		text = strings.TrimPrefix(text, p)
	}
	return harmless(cut(text, 1000))
}
