package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/sockeye-io/sockeye"
)

const maxChange = 64 << 10 // bytes

// api is the REST half: what is changed by it reaches every collaborator, on whatever server they are.
type api struct {
	io    *sockeye.Server
	users *Directory
}

func (a *api) routes(mux *http.ServeMux) {
	mux.HandleFunc("PUT /workspaces/{workspace}/apps/{app}", a.put)
	mux.HandleFunc("GET /workspaces/{workspace}/apps/{app}/collaborators", a.collaborators)
}

// enter finds out who asks for which app, or answers.
func (a *api) enter(w http.ResponseWriter, r *http.Request) (User, Place, bool) {
	place := Place{r.PathValue("workspace"), r.PathValue("app")}
	user, ok := a.users.user(bearer(r.Header))
	switch err := place.check(); {
	case !ok:
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, &RefusalError{"UNAUTHENTICATED", "send an Authorization header"})
	case err != nil:
		refuse(w, http.StatusBadRequest, err)
	case !user.in(place.WorkspaceID):
		refuse(w, http.StatusForbidden, &RefusalError{"FORBIDDEN", user.Name + " does not belong to workspace " + place.WorkspaceID})
	default:
		return user, place, true
	}
	return User{}, Place{}, false
}

// put changes an app. (This one keeps nothing: what an app is made of is not the matter here.)
func (a *api) put(w http.ResponseWriter, r *http.Request) {
	user, place, ok := a.enter(w, r)
	if !ok {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChange))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		refuse(w, http.StatusRequestEntityTooLarge, &RefusalError{"INVALID", "a change has at most 64 KiB"})
		return
	}
	if err != nil || !json.Valid(body) {
		refuse(w, http.StatusBadRequest, &RefusalError{"INVALID", "the body must be JSON"})
		return
	}
	if err := change.Emit(a.io.To(place.room()), Change{place, user.Name, body}); err != nil {
		log.ErrorContext(r.Context(), "change", slog.Any("error", err))
		refuse(w, http.StatusServiceUnavailable, &RefusalError{"INTERNAL", "the change could not be told to everybody"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// collaborators counts who follows an app, on all servers.
func (a *api) collaborators(w http.ResponseWriter, r *http.Request) {
	_, place, ok := a.enter(w, r)
	if !ok {
		return
	}
	n, err := a.io.To(place.room()).Count(r.Context())
	if err != nil {
		log.WarnContext(r.Context(), "not every server has answered", slog.Any("error", err))
	}
	reply(w, http.StatusOK, map[string]any{"count": n, "complete": err == nil})
}

func refuse(w http.ResponseWriter, status int, err error) {
	r := &RefusalError{"INVALID", err.Error()}
	errors.As(err, &r)
	reply(w, status, map[string]string{"code": r.Code, "message": r.Message})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
