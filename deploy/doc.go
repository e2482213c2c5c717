// Package deploy has no code: its directory holds configurations for proxies and for what runs servers, described in
// docs/deploy.md. Its tests run the proxies, and hold the other files against the program.
package deploy
