package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// The client that the page loads where no ClientDir is given. A test holds these against web/.
const (
	clientVersion   = "4.8.3"
	clientScript    = "https://cdn.socket.io/" + clientVersion + "/socket.io.min.js"
	clientIntegrity = "sha384-kzavj5fiMwLKzzD1f8S7TeoVIEi7uKHvbTA3ueZkrzYq75pNQUiUi6Dy98Q3fxb0"
)

// bundles are the files that are served; the first one must be there.
var bundles = [...]string{"socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js"}

// client serves the bundles of the official browser client from memory.
//
// Node: socket.io/lib/index.ts serve.
type client struct {
	files map[string][]byte
	etag  string // the quoted version
}

func loadClient(dir string) (*client, error) {
	c := &client{files: make(map[string][]byte)}
	if dir == "" {
		return c, nil
	}
	for i, name := range bundles {
		b, err := os.ReadFile(filepath.Join(dir, name)) // the directory is the operator's choice
		if err != nil {
			if i == 0 {
				return nil, fmt.Errorf("relay: no browser client: %w", err)
			}
			continue
		}
		c.files[name] = b
		if m, err := os.ReadFile(filepath.Join(dir, name+".map")); err == nil {
			c.files[name+".map"] = m
		}
	}
	c.etag = `"` + version(dir, c.files[bundles[0]]) + `"`
	return c, nil
}

// version is that of the package of which dir is a part, or a hash of its bundle.
func version(dir string, bundle []byte) string {
	var p struct{ Version string }
	b, err := os.ReadFile(filepath.Join(dir, "..", "package.json"))
	if err == nil && json.Unmarshal(b, &p) == nil && p.Version != "" && !strings.ContainsAny(p.Version, "\"\r\n") {
		return p.Version
	}
	sum := sha256.Sum256(bundle)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// serve answers if a file of the client is asked for; all else is for the engine.
func (c *client) serve(w http.ResponseWriter, r *http.Request) bool {
	name := strings.TrimPrefix(r.URL.Path, "/socket.io/")
	body, ok := c.files[name]
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("ETag", c.etag)
	h.Set("X-Content-Type-Options", "nosniff")
	if match := r.Header.Get("If-None-Match"); match == c.etag || match == "W/"+c.etag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(name, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the client may be gone
	}
	return true
}
