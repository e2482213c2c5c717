package relay

import (
	"encoding/json"
	"net/http"
)

// health is what GET /healthz answers. Its status code is always 200: a server whose Redis is away goes on
// serving its own clients, and must not be taken out of service for it.
type health struct {
	Status string `json:"status"` // ok or degraded
	Redis  string `json:"redis"`  // off, ok or degraded
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	h := health{Status: "ok", Redis: "off"}
	if s.clustered {
		h.Redis = "ok"
	}
	// What is wrong goes to the log only: it has addresses in it.
	if s.io.Health() != nil {
		h.Status = "degraded"
		if s.clustered {
			h.Redis = "degraded"
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(h) // the client may be gone
}
