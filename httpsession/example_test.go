package httpsession_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/express"
)

// Sockets and requests have the sessions of an Express application. In earnest Store is httpsession.Redis(driver, "sess:"), where
// connect-redis has them.
func Example() {
	ctx := context.Background()
	backend, err := express.New(express.Config{Secrets: []string{"a secret of enough bytes"}, Store: httpsession.NewMemory()})
	if err != nil {
		fmt.Println(err)
		return
	}
	sessions, err := httpsession.New(backend, httpsession.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer io.Close()
	sessions.Use(io.Of("/"))

	const visits httpsession.Key[int] = "visits"
	io.On("visit", sockeye.HandlerFunc(func(ctx context.Context, _ *sockeye.Message) error {
		n, _, err := visits.Get(ctx)
		if err != nil {
			return err
		}
		return visits.Set(ctx, n+1) // saved after the handler
	}))

	// A login, as the Express application would do it, and a request with its cookie.
	cookie, err := backend.Create(ctx, nil, map[string]any{"passport": map[string]any{"user": "ann"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := (&http.Request{Header: http.Header{}}).WithContext(ctx)
	r.AddCookie(cookie)
	session, err := sessions.Request(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(session.Text(ctx, "passport.user"))
	// Output: ann true <nil>
}
