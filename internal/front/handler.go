package front

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// BodyTime is how long the body of a request may take, with a second more for each bodyRate bytes announced.
const BodyTime = 10 * time.Second

const bodyRate = 1 << 10

// BasePath makes the form "/path", or "" for the root, of what a user writes.
func BasePath(text string) (string, error) {
	path := "/" + strings.Trim(text, "/")
	if path == "/" {
		return "", nil
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool {
			return r <= ' ' || r > '~' || strings.ContainsRune(`?#%\"<>{}`, r)
		}) {
			return "", fmt.Errorf("front: %q is no path such as /chat", text)
		}
	}
	return path, nil
}

// Below gives h what is below a base path, as if it were at the root; the rest is not found. Paths in always are given to
// h at the root, too.
func Below(base string, h http.Handler, always ...string) http.Handler {
	if base == "" {
		return h
	}
	stripped := http.StripPrefix(base, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch rest, below := strings.CutPrefix(r.URL.Path, base); {
		case below && strings.HasPrefix(rest, "/"):
			stripped.ServeHTTP(w, r)
			return
		case below && rest == "":
			to := base + "/"
			if r.URL.RawQuery != "" {
				to += "?" + r.URL.RawQuery
			}
			http.Redirect(w, r, to, http.StatusPermanentRedirect)
			return
		}
		if slices.Contains(always, r.URL.Path) {
			h.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
}

// Timely bounds the time that the bodies of requests may take, but for those below one path, whose handler does so
// itself. The time of the handler is not bounded.
func Timely(h http.Handler, but string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && !strings.HasPrefix(r.URL.Path, but) {
			rc := http.NewResponseController(w)
			limit := BodyTime + time.Duration(max(r.ContentLength, 0)/bodyRate)*time.Second
			if err := rc.SetReadDeadline(time.Now().Add(limit)); err == nil {
				r.Body = &timelyBody{r.Body, rc}
			}
		}
		h.ServeHTTP(w, r)
	})
}

// timelyBody ends the deadline when the body has come: it would end the request else.
type timelyBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

// Read implements io.Reader.
func (b *timelyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{}) // fails only on a connection that is gone
	}
	return n, err
}

// Logged logs requests at the level debug: without the query, which has the id of the session in it.
func Logged(h http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !log.Enabled(r.Context(), slog.LevelDebug) {
			h.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		s := &statusWriter{ResponseWriter: w}
		h.ServeHTTP(s, r)
		log.LogAttrs(r.Context(), slog.LevelDebug, "request",
			slog.String("method", clip(r.Method)), slog.String("path", clip(r.URL.Path)), slog.Int("status", s.status),
			slog.Int64("bytes", s.bytes), slog.Duration("duration", time.Since(start)), slog.String("client", r.RemoteAddr))
	})
}

// clip bounds what strangers can put into a line of the log.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// statusWriter keeps the status. What else a writer can do it can by http.ResponseController.
type statusWriter struct {
	http.ResponseWriter

	status int // 0 for a WebSocket
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
