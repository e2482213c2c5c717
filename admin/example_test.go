package admin_test

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/admin"
)

// A server with the official page beside it, at /admin-ui/, where its files are. "htpasswd -nbB admin PASSWORD" writes such
// a hash.
func Example() {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	a, err := admin.Attach(io, admin.Options{
		Users: map[string]string{"admin": "$2y$05$4e1tTE0pVF7eD4w1n6mNWu1t0mP8W5q0m2H3dT9bG0kJYgYz5MoeD"},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	if ui, err := admin.UI(os.DirFS("node_modules/@socket.io/admin-ui/ui/dist")); err == nil {
		mux.Handle("/admin-ui/", http.StripPrefix("/admin-ui", ui))
	}
	// http.ListenAndServe("127.0.0.1:3000", mux)

	fmt.Println(len(a.Pages()), "pages")
	if err := a.Close(); err != nil {
		log.Fatal(err)
	}
	if err := io.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: 0 pages
}
