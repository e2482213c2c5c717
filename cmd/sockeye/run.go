package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"
)

// version ends in -dev between releases.
const version = "0.1.0-dev"

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // it could not do what was asked
	exitUsage = 2 // it was asked in a wrong way
)

// invocation is what the process was started with.
type invocation struct {
	args    []string
	env     func(name string) string
	environ []string // all of it, as "NAME=value"
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer

	// Of a cluster for trying: what this server is called, and the servers that there are; nil without.
	name      string
	neighbors *neighbors

	// For tests: listening is told the address, once; drain is how long clients have to take leave, 0 = drain-timeout.
	listening func(addr string)
	drain     time.Duration
}

// usageError is a fault in the arguments or in the environment.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes one command and returns the exit code of the process. It ends when the command has, or
// when ctx has ended and the command has cleaned up.
func run(ctx context.Context, in invocation) int {
	root := &cobra.Command{
		Use:           "sockeye",
		Short:         "A Socket.IO server, and tools for clusters of such servers",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(in.args)
	root.SetOut(in.stdout)
	root.SetErr(in.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serveCommand(in), versionCommand(in),
		emitCommand(in), socketsCommand(in), roomsCommand(in),
		joinCommand(in), leaveCommand(in), disconnectCommand(in), decodeCommand(in), connectCommand(in),
		benchCommand(in), benchWorkerCommand(in))
	root.InitDefaultCompletionCmd()
	checkArgs(root)

	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	fmt.Fprintf(in.stderr, "sockeye: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(in.stderr, `Try "sockeye help".`)
		return exitUsage
	}
	return exitError
}

// checkArgs makes wrong arguments of a command, and of those below it, faults in usage.
func checkArgs(c *cobra.Command) {
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
	if !c.Runnable() {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() } // else its arguments are not checked
	}
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

func versionCommand(in invocation) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(in.stdout, "sockeye %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}
