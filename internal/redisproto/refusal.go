package redisproto

import "strings"

// Passing tells whether an error reply is about the state of Redis, which may be another one soon, and not about the
// command. The command was not carried out.
func Passing(reply string) bool {
	switch code(reply) {
	case "NOREPLICAS", "LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "OOM", "BUSY":
		return true
	}
	return false
}

// Redirected tells whether an error reply names another node, which would take the command.
func Redirected(reply string) bool {
	c := code(reply)
	return c == "MOVED" || c == "ASK"
}

// code is the first word, for which some servers that speak as Redis does write ERR first.
func code(reply string) string {
	c, _, _ := strings.Cut(strings.TrimPrefix(reply, "ERR "), " ")
	return c
}
