package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/emitter"
)

// order is an order to the servers about the clients that are selected.
type order struct {
	target

	all bool
}

const orderHelp = `

It returns when Redis has accepted the order; the servers do not say when they have followed it. --room says which clients
are meant, or --all that it is every client of the namespace.`

func (o *order) flags(c *cobra.Command) {
	o.target.flags(c)
	c.Flags().BoolVar(&o.all, "all", false, "every client of the namespace, but for --except")
}

// give gives the order, unless nobody said for whom it is.
func (o *order) give(
	ctx context.Context, in invocation, f func(ctx context.Context, b emitter.Broadcast) error,
) error {
	switch {
	case o.all && len(o.rooms) > 0:
		return usagef("--all and --room exclude each other")
	case !o.all && len(o.rooms) == 0:
		return usagef("nothing says for which clients this is: add --room, or --all for every client of the namespace")
	}
	return o.speak(ctx, in, f)
}

func joinCommand(in invocation) *cobra.Command {
	var o order
	c := &cobra.Command{
		Use:   "join [flags] ROOM...",
		Short: "Put clients of a running cluster into rooms",
		Long:  "Put clients of a cluster into rooms." + orderHelp + targetHelp,
		Example: `  sockeye join --redis redis://127.0.0.1:6379 --room lobby announcements
  sockeye join --redis redis://127.0.0.1:6379 --all --except guests members news`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, rooms []string) error {
			if slices.Contains(rooms, "") {
				return usagef("the name of a room is empty")
			}
			return o.give(c.Context(), in, func(ctx context.Context, b emitter.Broadcast) error { return b.Join(ctx, rooms...) })
		},
	}
	o.flags(c)
	return c
}

func leaveCommand(in invocation) *cobra.Command {
	var o order
	c := &cobra.Command{
		Use:   "leave [flags] ROOM...",
		Short: "Take clients of a running cluster out of rooms",
		Long:  "Take clients of a cluster out of rooms." + orderHelp + targetHelp,
		Example: `  sockeye leave --redis redis://127.0.0.1:6379 --room lobby announcements
  sockeye leave --redis redis://127.0.0.1:6379 --all members news`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, rooms []string) error {
			if slices.Contains(rooms, "") {
				return usagef("the name of a room is empty")
			}
			return o.give(c.Context(), in, func(ctx context.Context, b emitter.Broadcast) error { return b.Leave(ctx, rooms...) })
		},
	}
	o.flags(c)
	return c
}

func disconnectCommand(in invocation) *cobra.Command {
	var o order
	var closing bool
	c := &cobra.Command{
		Use:   "disconnect [flags]",
		Short: "Disconnect clients of a running cluster",
		Long: `Disconnect clients of a cluster from the namespace, or with --close from all namespaces, with their connections. Official
clients do not come back by themselves then.` + orderHelp + targetHelp,
		Example: `  sockeye disconnect --redis redis://127.0.0.1:6379 --room banned --close
  sockeye disconnect --redis redis://127.0.0.1:6379 --all -n /chat`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.give(c.Context(), in, func(ctx context.Context, b emitter.Broadcast) error { return b.Disconnect(ctx, closing) })
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&closing, "close", false, "close the connections too")
	return c
}
