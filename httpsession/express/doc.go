// Package express gives sockets the sessions of an Express application that uses express-session with connect-redis: a user
// who has logged in there is known here, what handlers write is there in req.session, and a logout there closes the sockets.
//
//	backend, err := express.New(express.Config{
//		Secrets: []string{os.Getenv("SESSION_SECRET")},
//		Store:   httpsession.Redis(driver, "sess:"),
//	})
//	...
//	sessions, err := httpsession.New(backend, httpsession.Config{})
//	...
//	sessions.Use(io.Of("/"))
//
// Values are those of req.session, as JSON; keys that nobody here has changed are written back byte for byte, in their order,
// and so is the cookie that express-session keeps among them. Get into an *any gives numbers as json.Number, so that no digit
// is lost.
//
// A session lives as long as connect-redis would have it: the maxAge of its cookie, else the ttl of the store, from each
// write and each touch on. An open socket touches it like a request does. See package httpsession for when sessions are
// read and written, and for what happens when Express writes at the same time.
//
// Not in this package: other serializers of connect-redis than JSON, and its other stores.
package express
