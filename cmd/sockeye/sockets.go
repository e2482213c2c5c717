package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/emitter"
)

func socketsCommand(in invocation) *cobra.Command {
	var o target
	var asJSON, count bool
	c := &cobra.Command{
		Use:   "sockets [flags]",
		Short: "List the clients of a running cluster",
		Long: `List the clients that are connected to the servers of a cluster: id, address, rooms besides the one of the id, and data
that the server has attached. If not all servers answer, what came is listed, and the exit code is 1.` + targetHelp,
		Example: `  sockeye sockets --redis redis://127.0.0.1:6379 --room lobby
  sockeye sockets --redis redis://127.0.0.1:6379 --json -n /chat`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON && count {
				return usagef("--json and --count exclude each other")
			}
			return o.speak(c.Context(), in, func(ctx context.Context, b emitter.Broadcast) error {
				if count {
					n, err := b.Count(ctx)
					return listed(in, err, func(out *bytes.Buffer) { fmt.Fprintln(out, n) })
				}
				list, err := b.FetchSockets(ctx)
				slices.SortFunc(list, func(a, b *emitter.RemoteSocket) int { return cmp.Compare(a.ID, b.ID) })
				return listed(in, err, func(out *bytes.Buffer) {
					if asJSON {
						socketLines(out, list)
						return
					}
					socketTable(out, list)
				})
			})
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each socket, one a line")
	c.Flags().BoolVar(&count, "count", false, "print only how many there are")
	return c
}

// listed prints what came, which may be a part, unless nothing can have come.
func listed(in invocation, err error, write func(out *bytes.Buffer)) error {
	if err != nil && !incomplete(err) {
		return err
	}
	var out bytes.Buffer
	write(&out)
	_, werr := in.stdout.Write(out.Bytes())
	return errors.Join(err, werr)
}

// socketLine is a socket as it is printed for scripts.
type socketLine struct {
	ID      string   `json:"id"`
	Address string   `json:"address"`
	Rooms   []string `json:"rooms"`
	Data    any      `json:"data"`
	Server  string   `json:"server,omitempty"`
}

func socketLines(out *bytes.Buffer, list []*emitter.RemoteSocket) {
	for _, s := range list {
		writeJSON(out, socketLine{s.ID, s.Handshake.Address, others(s), shown(s.Data), s.Server})
	}
}

func socketTable(out *bytes.Buffer, list []*emitter.RemoteSocket) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tADDRESS\tROOMS\tDATA")
	for _, s := range list {
		names := others(s)
		for i, r := range names {
			names[i] = name(r)
		}
		var data bytes.Buffer
		if !s.Data.IsZero() {
			writeJSON(&data, shown(s.Data))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name(s.ID), name(s.Handshake.Address), strings.Join(names, " "),
			strings.TrimSpace(data.String()))
	}
	_ = w.Flush() // writes to a buffer
}

// others gives the rooms of a socket besides that of its id, in order.
func others(s *emitter.RemoteSocket) []string {
	rooms := slices.DeleteFunc(slices.Clone(s.Rooms), func(r string) bool { return r == s.ID })
	slices.Sort(rooms)
	return slices.Compact(append([]string{}, rooms...))
}

// name gives a name as a table shows it: in quotes where it could be taken for something else.
func name(s string) string {
	if s != "" && !strings.ContainsAny(s, ` "`) && !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b bytes.Buffer
	writeJSON(&b, s)
	return strings.TrimSpace(b.String())
}

func roomsCommand(in invocation) *cobra.Command {
	var o target
	var asJSON bool
	c := &cobra.Command{
		Use:   "rooms [flags]",
		Short: "List the rooms of a running cluster",
		Long: `List the rooms that clients of a cluster are in, without those that only stand for one client, and how many clients are in
each. With --room or --except only the selected clients are counted. If not all servers answer, what came is listed, and
the exit code is 1.` + targetHelp,
		Example: `  sockeye rooms --redis redis://127.0.0.1:6379
  sockeye rooms --redis redis://127.0.0.1:6379 --redis-mode streams --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.speak(c.Context(), in, func(ctx context.Context, b emitter.Broadcast) error {
				list, err := b.FetchSockets(ctx)
				sizes := map[string]int{}
				for _, s := range list {
					for _, r := range others(s) {
						sizes[r]++
					}
				}
				return listed(in, err, func(out *bytes.Buffer) { printRooms(out, sizes, asJSON) })
			})
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each room, one a line")
	return c
}

func printRooms(out *bytes.Buffer, sizes map[string]int, asJSON bool) {
	names := slices.Sorted(maps.Keys(sizes))
	if asJSON {
		for _, r := range names {
			writeJSON(out, struct {
				Room    string `json:"room"`
				Sockets int    `json:"sockets"`
			}{r, sizes[r]})
		}
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROOM\tSOCKETS")
	for _, r := range names {
		fmt.Fprintf(w, "%s\t%d\n", name(r), sizes[r])
	}
	_ = w.Flush() // writes to a buffer
}
