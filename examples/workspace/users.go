package main

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye"
)

// User is somebody who collaborates.
type User struct {
	Name       string
	Workspaces []string // that they belong to
}

// Directory knows users by their tokens. A real one asks a database, or verifies a JSON Web Token.
type Directory struct{ byToken map[[32]byte]User }

// newDirectory has two users who share a workspace, for trying.
func newDirectory() *Directory {
	return &Directory{map[[32]byte]User{
		sha256.Sum256([]byte("token-of-ada")): {"ada", []string{"w1", "w2"}},
		sha256.Sum256([]byte("token-of-bob")): {"bob", []string{"w1"}},
	}}
}

// user looks a token up by its hash, so that the time it takes says nothing about tokens.
func (d *Directory) user(token string) (User, bool) {
	u, ok := d.byToken[sha256.Sum256([]byte(token))]
	return u, ok
}

// bearer gives the token of an Authorization header.
func bearer(h http.Header) string {
	token, _ := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	return token
}

// tokenOf gives what a client authenticates with: auth.token, as browsers send it, or an Authorization header, for clients
// that can send one, such as Postman.
func tokenOf(s *sockeye.Socket) string {
	var auth struct {
		Token string `json:"token"`
	}
	if s.Auth(&auth) == nil && auth.Token != "" {
		return auth.Token
	}
	return bearer(s.Handshake().Headers)
}

// authenticate finds out who sends an event, each time: a token that was withdrawn is worth nothing from then on.
func (d *Directory) authenticate(next handler) func(ctx context.Context, a Application) error {
	return func(ctx context.Context, a Application) error {
		user, ok := d.user(tokenOf(sockeye.SocketFrom(ctx)))
		if !ok {
			return &RefusalError{"UNAUTHENTICATED", "connect with auth: {token}, or an Authorization header"}
		}
		return next(ctx, user, a)
	}
}

// authorize lets pass who belongs to the workspace.
func authorize(next handler) handler {
	return func(ctx context.Context, user User, a Application) error {
		if !user.in(a.Payload.WorkspaceID) {
			return &RefusalError{"FORBIDDEN", user.Name + " does not belong to workspace " + a.Payload.WorkspaceID}
		}
		return next(ctx, user, a)
	}
}

func (u User) in(workspace string) bool { return slices.Contains(u.Workspaces, workspace) }
