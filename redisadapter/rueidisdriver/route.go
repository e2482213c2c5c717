package rueidisdriver

import (
	"context"
	"errors"
	"strings"

	"github.com/sockeye-io/sockeye/internal/redisproto"
)

const maxAttempts = 4 // of a command that is redirected

// share is the part of a batch that goes to one node.
type share struct {
	node *node
	only []int // indices, in order
	errs []error
}

// run sends each command of a batch where it belongs, and again where it belongs elsewhere.
func (c *cluster) run(ctx context.Context, b batch) []error {
	errs := make([]error, b.n)
	rest := make([]int, b.n)
	for i := range rest {
		rest[i] = i
	}
	var asks map[int]*node // where to ask, this time only
	for range maxAttempts {
		shares := c.divide(ctx, b, rest, asks, errs)
		if len(shares) > 0 {
			nodes := make([]*node, len(shares))
			for i := range shares {
				nodes[i] = shares[i].node
			}
			asking := func(i int) bool { return asks[i] != nil }
			_ = together(nodes, func(i int, n *node) error { // each share has its errors
				shares[i].errs = n.send(ctx, b, shares[i].only, asking)
				return nil
			})
		}
		rest, asks = c.collect(ctx, b, shares, errs)
		if len(rest) == 0 {
			break
		}
	}
	failed := false
	for i, err := range errs {
		if err != nil {
			errs[i] = c.d.fail(unsent(err))
			failed = true
		}
	}
	if !failed {
		return nil
	}
	return errs
}

// divide gives each node its share. Where there is no node, it notes the error.
func (c *cluster) divide(ctx context.Context, b batch, rest []int, asks map[int]*node, errs []error) []share {
	var shares []share
	for _, i := range rest {
		n := asks[i]
		var err error
		if n == nil {
			n, err = c.target(ctx, b, i)
		}
		if err != nil {
			errs[i] = &dialError{err}
			continue
		}
		at := 0
		for at < len(shares) && shares[at].node != n {
			at++
		}
		if at == len(shares) {
			shares = append(shares, share{node: n})
		}
		shares[at].only = append(shares[at].only, i)
	}
	return shares
}

func (c *cluster) target(ctx context.Context, b batch, i int) (*node, error) {
	if b.key != nil {
		if key, ok := b.key(i); ok {
			return c.owner(ctx, redisproto.Slot(key))
		}
	}
	return c.home(ctx)
}

// collect notes the errors and gives the commands to send again: those that were redirected, and those that were
// certainly not sent, where another node is there for them now.
func (c *cluster) collect(ctx context.Context, b batch, shares []share, errs []error) (again []int, asks map[int]*node) {
	for _, s := range shares {
		learned := false
		for k, i := range s.only {
			errs[i] = nil
			if s.errs == nil || s.errs[k] == nil {
				continue
			}
			err := s.errs[k]
			errs[i] = s.node.fail(err)
			key, keyed := "", false
			if b.key != nil {
				key, keyed = b.key(i)
			}
			if next, asking := c.follow(s.node, redisproto.Slot(key), err); keyed && next != nil {
				if asking {
					if asks == nil {
						asks = map[int]*node{}
					}
					asks[i] = next
				}
				again = append(again, i)
				continue
			}
			undialed := (*dialError)(nil)
			if !errors.As(err, &undialed) && !strings.HasPrefix(refusal(err), "CLUSTERDOWN") || ctx.Err() != nil {
				continue
			}
			if !learned {
				_ = c.learn(ctx, nil, c.seen()) // what is known stays
				learned = true
			}
			if n, err := c.target(ctx, b, i); err == nil && n != s.node {
				again = append(again, i)
			}
		}
	}
	return again, asks
}
