package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
)

// policy is what the page may load and talk to: its fonts come from where it asks for them, and it connects to servers
// anywhere.
const policy = "default-src 'self'; style-src 'self' 'unsafe-inline' https://fonts.googleapis.com https://cdn.jsdelivr.net; " +
	"font-src 'self' data: https://fonts.gstatic.com https://cdn.jsdelivr.net; img-src 'self' data:; " +
	"connect-src 'self' http: https: ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"

// UI serves the files of the official page, which are in ui/dist of the npm package @socket.io/admin-ui, at the root of
// its paths:
//
//	ui, err := admin.UI(os.DirFS("node_modules/@socket.io/admin-ui/ui/dist"))
//	mux.Handle("/admin-ui/", http.StripPrefix("/admin-ui", ui))
//
// The page needs no secret and has none; who opens it is asked for the address of a server and a password. It may not be
// shown in a frame. Without an index.html there is an error.
//
// Differs from Node: the page is served elsewhere there
func UI(files fs.FS) (http.Handler, error) {
	if st, err := fs.Stat(files, "index.html"); err != nil {
		return nil, fmt.Errorf("admin: no page: %w", err)
	} else if !st.Mode().IsRegular() {
		return nil, errors.New("admin: no page: index.html is not a file")
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		name := path.Clean("/" + r.URL.Path)
		if name != "/" && isDir(files, name[1:]) {
			http.NotFound(w, r) // directories are not listed
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		server.ServeHTTP(w, r)
	}), nil
}

func isDir(files fs.FS, name string) bool {
	st, err := fs.Stat(files, name)
	return err == nil && st.IsDir()
}
