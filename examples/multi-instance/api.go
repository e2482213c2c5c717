package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye"
)

const (
	maxBody = 64 << 10 // bytes
	ackTime = 5 * time.Second
)

// api is the HTTP half of the application.
type api struct{ io *sockeye.Server }

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/users/{user}/notifications", a.notify)
	mux.HandleFunc("GET /api/users", a.users)
	return mux
}

func roomOf(user string) string { return "user:" + user }

// notify asks all clients of a user, on every instance, to take a notification, and tells how many have.
func (a *api) notify(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "the body must be JSON of at most 64 KiB"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ackTime)
	defer cancel()
	replies, err := a.io.To(roomOf(r.PathValue("user"))).EmitWithAck(ctx, "notification", body)
	result := map[string]int{"taken": len(replies), "silent": 0}
	if silent := (*sockeye.AckError)(nil); errors.As(err, &silent) {
		result["silent"] = silent.Expected - silent.Received
	} else if err != nil {
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": "the other instances cannot be reached"})
		return
	}
	answer(w, http.StatusOK, result)
}

// users gives who is connected, to any instance.
func (a *api) users(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), ackTime)
	defer cancel()
	sockets, err := a.io.Of("/").All().FetchSockets(ctx)
	users := []string{}
	for _, s := range sockets {
		var user string
		if s.Data.Scan(&user) == nil {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	answer(w, http.StatusOK, map[string]any{"users": slices.Compact(users), "complete": err == nil})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// cors lets pages of these origins use the API, with cookies. The sockets have the same list, in Config.Origin.
func cors(origins []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		switch {
		case origin == "" || origin == "http://"+r.Host || origin == "https://"+r.Host:
		case slices.Contains(origins, origin):
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true")
			if r.Method == http.MethodOptions {
				h.Set("Access-Control-Allow-Methods", "GET, POST")
				h.Set("Access-Control-Allow-Headers", "Content-Type")
				h.Set("Access-Control-Max-Age", "600")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		default:
			answer(w, http.StatusForbidden, map[string]string{"error": "origin not allowed"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
