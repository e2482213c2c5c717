package main

import (
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/alexedwards/scs/v2"
)

//go:embed page/index.html
var files embed.FS

var index = template.Must(template.ParseFS(files, "page/index.html"))

// pages are the web application: a page that is a login or the chat, and what its forms do. It knows nothing of sockets.
func pages(manager *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		err := index.Execute(w, map[string]any{
			"Name": manager.GetString(r.Context(), "name"), "Said": manager.GetInt(r.Context(), "said"),
		})
		if err != nil {
			log.Warn("cannot show the page", slog.Any("error", err))
		}
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		who := clip(strings.TrimSpace(r.FormValue("name")))
		if who == "" {
			http.Error(w, "a name is needed", http.StatusBadRequest)
			return
		}
		if err := manager.RenewToken(r.Context()); err != nil { // so that nobody else knows it
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		manager.Put(r.Context(), "name", who)
		manager.Put(r.Context(), "said", 0)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := manager.Destroy(r.Context()); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	return mux
}
