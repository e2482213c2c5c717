package admin

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestUI(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"index.html": {Data: []byte("<html>page</html>")}, "js/app.js": {Data: []byte("app()")}, "css/index.html": {Data: []byte("x")},
	}
	ui, err := UI(files)
	must(t, err)
	h := http.StripPrefix("/admin-ui", ui)
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/admin-ui/", 200, "<html>page</html>"},
		{"GET", "/admin-ui/js/app.js", 200, "app()"},
		{"HEAD", "/admin-ui/js/app.js", 200, ""},
		{"GET", "/admin-ui/js/", 404, ""},
		{"GET", "/admin-ui/js", 404, ""},
		{"GET", "/admin-ui/css/", 404, ""},
		{"GET", "/admin-ui/none", 404, ""},
		{"GET", "/admin-ui/../admin.go", 404, ""},
		{"GET", "/admin-ui/%2e%2e/admin.go", 404, ""},
		{"POST", "/admin-ui/", 405, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || c.body != "" && w.Body.String() != c.body {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
		if w.Code == 200 && (w.Header().Get("X-Frame-Options") != "DENY" ||
			!strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")) {
			t.Errorf("%s %s: headers %v", c.method, c.path, w.Header())
		}
	}
	if _, err := UI(os.DirFS(t.TempDir())); err == nil {
		t.Error("a page without index.html")
	}
	if _, err := UI(fstest.MapFS{"index.html/x": {}}); err == nil {
		t.Error("a page whose index.html is a directory")
	}
}
