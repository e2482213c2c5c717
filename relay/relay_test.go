package relay

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// installed is where npm puts the client.
const installed = "../web/node_modules/socket.io-client/dist"

func get(t *testing.T, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestServer_Page(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	res, body := get(t, url+"/", nil)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("page: %s %s", res.Status, res.Header.Get("Content-Type"))
	}
	// Without a ClientDir the page takes the client from the CDN, and nothing that is not the pinned file.
	want := `<script src="` + clientScript + `" integrity="` + clientIntegrity + `" crossorigin="anonymous" defer>`
	if got := strings.ReplaceAll(body, "&#43;", "+"); !strings.Contains(got, want) {
		t.Errorf("the page lacks %s:\n%s", want, body)
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self' " + clientScript + ";", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q lacks %q", policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if strings.Contains(body, "<style") || strings.Contains(body, "onclick") {
		t.Error("the page has inline styles or handlers, which its policy forbids")
	}
	kinds := map[string]string{"style.css": "text/css", "icon.svg": "image/svg+xml"}
	for _, name := range scripts(t) {
		kinds[name] = "text/javascript"
	}
	for name, kind := range kinds {
		res, body := get(t, url+"/page/"+name, nil)
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), kind) || body == "" {
			t.Errorf("%s: %s %s", name, res.Status, res.Header.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/page/", "/page/index.html", "/page/../relay.go", "/other"} {
		if res, _ := get(t, url+path, nil); res.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestPage_NoMarkupFromData(t *testing.T) {
	t.Parallel()
	for _, name := range scripts(t) {
		js, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"} {
			if strings.Contains(string(js), bad) {
				t.Errorf("%s uses %s", name, bad)
			}
		}
	}
}

// scripts are the names of all scripts of the page.
func scripts(t *testing.T) (names []string) {
	t.Helper()
	files, err := fs.Glob(pageFiles, "page/*.js")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, name := range files {
		names = append(names, filepath.Base(name))
	}
	return names
}

func TestServer_Client(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dist := filepath.Join(dir, "dist")
	if err := os.Mkdir(dist, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"package.json": `{"version":"9.8.7"}`, "dist/socket.io.js": "client", "dist/socket.io.min.js": "small", "dist/secret.js": "no",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, url := start(t, Config{ClientDir: dist})
	res, body := get(t, url+"/socket.io/socket.io.js", nil)
	if res.StatusCode != http.StatusOK || body != "client" || res.Header.Get("ETag") != `"9.8.7"` ||
		res.Header.Get("Content-Type") != "application/javascript; charset=utf-8" {
		t.Errorf("client: %s %q %v", res.Status, body, res.Header)
	}
	for _, tag := range []string{`"9.8.7"`, `W/"9.8.7"`} {
		if res, body := get(t, url+"/socket.io/socket.io.js", http.Header{"If-None-Match": {tag}}); res.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("client again, %s: %s %q", tag, res.Status, body)
		}
	}
	for _, name := range []string{"secret.js", "socket.io.esm.min.js", "../package.json", ""} {
		if res, body := get(t, url+"/socket.io/"+name, nil); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"code":0`) {
			t.Errorf("%q: %s %s", name, res.Status, body)
		}
	}
	_, page := get(t, url+"/", nil)
	if !strings.Contains(page, `<script src="socket.io/socket.io.min.js" defer>`) {
		t.Errorf("page: %s", page)
	}
	if _, err := New(Config{ClientDir: t.TempDir()}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory without the client: %v", err)
	}
}

// TestClient_Pinned holds the address of the CDN and the hash against the package that npm has installed.
func TestClient_Pinned(t *testing.T) {
	t.Parallel()
	var p struct{ Dependencies map[string]string }
	b, err := os.ReadFile("../web/package.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	if p.Dependencies["socket.io-client"] != clientVersion {
		t.Errorf("web/package.json pins %s, the page loads %s", p.Dependencies["socket.io-client"], clientVersion)
	}
	script, err := os.ReadFile(filepath.Join(installed, "socket.io.min.js"))
	if err != nil {
		testkit.Need(t, "the npm packages of web (make setup)")
	}
	sum := sha512.Sum384(script)
	if got := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); got != clientIntegrity {
		t.Errorf("hash of the installed file is %s, the page has %s", got, clientIntegrity)
	}
	c, err := loadClient(installed)
	if err != nil {
		t.Fatal(err)
	}
	if c.etag != `"`+clientVersion+`"` {
		t.Errorf("installed is %s", c.etag)
	}
}

// sick is a cluster that can be made ill.
type sick struct {
	adapter.Cluster
	err error
}

func (s *sick) Health() error { return s.err }

func TestServer_Health(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		c    Config
		want string
	}{
		"alone":    {Config{}, `{"status":"ok","redis":"off"}`},
		"cluster":  {Config{Adapter: &sick{Cluster: adapter.Memory()}}, `{"status":"ok","redis":"ok"}`},
		"degraded": {Config{Adapter: &sick{adapter.Memory(), errors.New("secret address")}}, `{"status":"degraded","redis":"degraded"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := start(t, test.c)
			res, body := get(t, url+"/healthz", nil)
			if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %v", res.Status, res.Header)
			}
			same(t, name, body, test.want)
		})
	}
}

func TestServer_SafeDefaults(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	if res, body := get(t, url+"/socket.io/?EIO=3&transport=polling&j=0", nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("JSONP: %s %s", res.Status, body)
	}
	if res, body := get(t, url+"/socket.io/?EIO=3&transport=polling", nil); res.StatusCode != http.StatusOK {
		t.Errorf("protocol 3: %s %s", res.Status, body)
	}
	evil := http.Header{"Origin": {"https://evil.example"}}
	if res, body := get(t, url+"/socket.io/?EIO=4&transport=polling", evil); res.StatusCode != http.StatusForbidden {
		t.Errorf("another origin: %s %s", res.Status, body)
	}
}

func TestServer_ShutdownTellsClients(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	defer h.Close()
	p, _ := connect(t, h.URL)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the client is told", func() bool { return p.conn.Send([]byte("2[]"), false) != nil })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
