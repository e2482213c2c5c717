package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/internal/load"
)

const benchWorkerName = "worker"

// benchWorkerCommand is a process of "bench". It ends with its standard input. A Ctrl-C, which the terminal tells it too,
// is the affair of the process that has started it.
func benchWorkerCommand(in invocation) *cobra.Command {
	return &cobra.Command{
		Use:    benchWorkerName,
		Short:  "Take a share of the load of bench, as told by standard input",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return load.Serve(context.WithoutCancel(c.Context()), in.stdin, in.stdout)
		},
	}
}

// spawn starts this program again, as a worker.
func (in invocation) spawn(ctx context.Context) (p load.Pipe, err error) {
	self, err := os.Executable()
	if err != nil {
		return p, fmt.Errorf("cannot find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, benchWorkerName)
	cmd.Stderr = os.Stderr
	if p.Orders, err = cmd.StdinPipe(); err != nil {
		return p, err
	}
	if p.Reports, err = cmd.StdoutPipe(); err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	p.Kill = func() { _ = cmd.Process.Kill() } // it fails on one that has ended
	p.Wait = cmd.Wait
	return p, nil
}
