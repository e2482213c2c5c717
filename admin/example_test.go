package admin_test

import (
	"log"
	"net/http"
	"os"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/admin"
)

// A server with the official page beside it, at /admin-ui/. The hash is what "htpasswd -nbB admin PASSWORD" writes.
func Example() {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer io.Close()
	a, err := admin.Attach(io, admin.Options{
		Users: map[string]string{"admin": "$2y$10$Kq5u8kkE2Gm0kJYgYz5MoeDA0mY7D6cnYlpqCxGJp9s8d3V1x6bXe"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	ui, err := admin.UI(os.DirFS("node_modules/@socket.io/admin-ui/ui/dist"))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/socket.io/", io)
	http.Handle("/admin-ui/", http.StripPrefix("/admin-ui", ui))
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}
