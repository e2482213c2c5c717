package redisadapter

import "context"

// Commander runs commands of Redis, for what others than adapters keep there. Both drivers are Commanders. It is safe for
// concurrent use.
//
// A reply is nil, a string, an int64, or an []any of these; a map comes as its names and values in turn, a number with a
// fraction as a string, true and false as 1 and 0. An error reply is an error. A command is sent once: with another error
// it is not known whether Redis has run it, but where the error wraps ErrNotSent.
type Commander interface {
	// Do runs one command, its name first. key is one that it is about and says to which node of a Redis Cluster it
	// goes; "" is for commands that any master may run.
	Do(ctx context.Context, key string, command ...string) (any, error)

	// DoAll runs several commands in one pipeline to each node, in order where they go to one. It gives a reply for each,
	// and nil or for each command nil or an error.
	DoAll(ctx context.Context, batch []Command) (replies []any, errs []error)
}

// Command is one command of a pipeline, as for Commander.Do.
type Command struct {
	Key  string
	Args []string // its name first
}
