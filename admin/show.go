package admin

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// changed is the event by which servers ask each other to show their pages everything again. Node servers do not
// listen to it.
const changed = "sockeye:admin:changed"

// Bounds on what all_sockets carries. Other sockets follow one by one, so that a page takes them at its pace.
const (
	maxList      = 200
	maxListBytes = 256 << 10
)

// show begins to show everything to a page, where each socket is told of.
func (a *Admin) show(s *sockeye.Socket) {
	if a.verbose.Load() {
		a.start(func() { a.showAll(s) })
	}
}

// showAll is a goroutine that lists all sockets for a page. It ends when that is done, after showTimeout, or with Close.
//
// Node: @socket.io/admin-ui fetchAllSockets
func (a *Admin) showAll(s *sockeye.Socket) {
	ctx, cancel := context.WithTimeout(a.ctx, showTimeout)
	defer cancel()
	sockets, err := a.find(ctx)
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "admin list of sockets is not complete", slog.Any("error", err))
	}
	n := listed(sockets)
	if s.EmitContext(ctx, "all_sockets", sockets[:n]) != nil {
		return // the page is gone, or takes nothing
	}
	rest := sockets[n:]
	for i := range rest {
		if l := rest[i].local; l != nil && !l.Connected() {
			continue // which the page has been told
		}
		if s.EmitContext(ctx, "socket_connected", &rest[i], date(rest[i].since())) != nil {
			return
		}
	}
}

// listed is how many sockets all_sockets carries.
func listed(sockets []socketInfo) int {
	bytes := 0
	for i := range sockets {
		b, err := parser.Value(&sockets[i]).AppendMsgpack(nil)
		if bytes += len(b); err != nil || i == maxList || i > 0 && bytes > maxListBytes {
			return i
		}
	}
	return len(sockets)
}

// find gives all sockets of the cluster; those of this server where there are too many. What cannot be had in time is
// missing, and an error says so.
func (a *Admin) find(ctx context.Context) ([]socketInfo, error) {
	select {
	case a.looking <- struct{}{}: // one at a time
		defer func() { <-a.looking }()
	case <-ctx.Done():
		return []socketInfo{}, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	nsps := a.namespaces()
	many, err := a.tooMany(ctx, nsps)
	if many {
		return a.findLocal(nsps), err
	}
	all := []socketInfo{}
	for _, n := range nsps {
		sockets, e := n.All().FetchSockets(ctx)
		err = errors.Join(err, e)
		for _, r := range sockets {
			info := a.remote(n.Name(), r)
			info.local, _ = n.Socket(r.ID)
			all = append(all, info)
		}
	}
	return all, err
}

// namespaces gives those with the most sockets here, at most maxNamespaces, in the order of the server.
func (a *Admin) namespaces() []*sockeye.Namespace {
	nsps := slices.Collect(a.io.Namespaces())
	if len(nsps) <= maxNamespaces {
		return nsps
	}
	st := a.io.Stats()
	most := make(map[string]bool, maxNamespaces)
	for _, n := range a.report(&st, nil, started).Namespaces {
		most[n.Name] = true
	}
	return slices.DeleteFunc(nsps, func(n *sockeye.Namespace) bool { return !most[n.Name()] })
}

// tooMany counts before it lets the cluster describe its sockets.
func (a *Admin) tooMany(ctx context.Context, nsps []*sockeye.Namespace) (bool, error) {
	if a.o.MaxSockets < 0 {
		return false, nil
	}
	total := 0
	var errs error
	for _, n := range nsps {
		count, err := n.All().Count(ctx)
		errs = errors.Join(errs, err)
		if total += count; total > a.o.MaxSockets {
			return true, errs
		}
	}
	return false, errs
}

func (a *Admin) findLocal(nsps []*sockeye.Namespace) []socketInfo {
	all := []socketInfo{}
	for _, n := range nsps {
		for s := range n.Sockets() {
			if len(all) == a.o.MaxSockets {
				return all
			}
			all = append(all, a.local(s))
		}
	}
	return all
}

// tellOthers asks the other servers of the cluster to show their pages everything again.
func (a *Admin) tellOthers() {
	if err := a.nsp.ServerSideEmit(a.ctx, changed); err != nil {
		a.log.LogAttrs(a.ctx, slog.LevelWarn, "admin pages of other servers not told", slog.Any("error", err))
	}
}

// toldByOther answers to changed.
func (a *Admin) toldByOther(context.Context, *sockeye.Message) error {
	select {
	case a.again <- struct{}{}:
	default: // it is asked for already
	}
	return nil
}
