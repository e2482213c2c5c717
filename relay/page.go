package relay

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// page serves the demo page.
type page struct {
	index  []byte
	policy string
	files  map[string]file
}

type file struct {
	body []byte
	kind string
}

func newPage(fromCDN bool) (*page, error) {
	script, integrity, source := "socket.io/socket.io.min.js", "", "'self'"
	if fromCDN {
		script, integrity, source = clientScript, clientIntegrity, "'self' "+clientScript
	}
	t, err := template.ParseFS(pageFiles, "page/index.html")
	if err != nil {
		return nil, fmt.Errorf("relay: page: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, struct{ Script, Integrity string }{script, integrity}); err != nil {
		return nil, fmt.Errorf("relay: page: %w", err)
	}
	p := &page{
		index: b.Bytes(),
		// Without 'unsafe-inline' anywhere. 'self' in connect-src covers WebSocket of the same origin.
		policy: "default-src 'none'; script-src " + source + "; style-src 'self'; img-src 'self'; connect-src 'self'; " +
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
		files: make(map[string]file),
	}
	const javascript = "text/javascript; charset=utf-8"
	for name, kind := range map[string]string{
		"app.js": javascript, "dom.js": javascript, "events.js": javascript, "link.js": javascript, "values.js": javascript,
		"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		body, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			return nil, fmt.Errorf("relay: page: %w", err)
		}
		p.files[name] = file{body, kind}
	}
	return p, nil
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := p.files[strings.TrimPrefix(r.URL.Path, "/page/")]
	if r.URL.Path == "/" {
		f, ok = file{p.index, "text/html; charset=utf-8"}, true
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	_, _ = w.Write(f.body) // the client may be gone
}
