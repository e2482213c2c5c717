package main

import "github.com/sockeye-io/sockeye"

// The events, with their types, that server and client share: in a larger program a package of their own.
const (
	Joined sockeye.Event[string]       = "joined"
	Said   sockeye.Event[Line]         = "said"
	Say    sockeye.Call[string, Stats] = "say"
)

// Line is what somebody said.
type Line struct {
	Who  string `json:"who"`
	Text string `json:"text"`
}

// Stats is the answer to Say.
type Stats struct {
	Heard int `json:"heard"` // by how many others
}

// Login is what a client shows when it connects.
type Login struct {
	Name string `json:"name"`
}
