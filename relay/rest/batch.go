package rest

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// batchRequest does several operations, in order. It is checked as a whole before the first one.
type batchRequest struct {
	Operations []jsontext.Value `json:"operations"`
	Stop       bool             `json:"stopOnError"`

	parsed []operation
}

// What operations are in a batch.
type (
	namedEmit struct {
		Op string `json:"op"`
		emitRequest
	}
	namedJoin struct {
		Op string `json:"op"`
		joinRequest
	}
	namedLeave struct {
		Op string `json:"op"`
		leaveRequest
	}
	namedDisconnect struct {
		Op string `json:"op"`
		disconnectRequest
	}
)

func (b *batchRequest) describe() (string, []slog.Attr) { return "batch", nil }

func (b *batchRequest) scopes() []Scope {
	var all []Scope
	for _, op := range b.parsed {
		for _, s := range op.scopes() {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

func (b *batchRequest) check(h *Handler) *problem {
	if n := len(b.Operations); n == 0 || n > h.c.MaxBatch {
		return invalid("/operations", "there must be 1 to "+strconv.Itoa(h.c.MaxBatch))
	}
	for i, raw := range b.Operations {
		pointer := "/operations/" + strconv.Itoa(i)
		op, p := parse(raw)
		if p == nil {
			p = op.check(h)
		}
		if p != nil {
			return p.below(pointer)
		}
		b.parsed = append(b.parsed, op)
	}
	return nil
}

func parse(raw jsontext.Value) (operation, *problem) {
	var head struct {
		Op string `json:"op"`
	}
	if raw.Kind() != jsontext.KindBeginObject {
		return nil, invalid("", "it must be an object")
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, invalid("/op", "it must be a string")
	}
	var op operation
	switch head.Op {
	case "emit":
		e := new(namedEmit)
		if p := decode(raw, e); p != nil {
			return nil, p
		}
		if e.Ack != nil {
			return nil, invalid("/ack", "a batch does not wait for acknowledgements")
		}
		return e, nil
	case "join":
		op = new(namedJoin)
	case "leave":
		op = new(namedLeave)
	case "disconnect":
		op = new(namedDisconnect)
	default:
		return nil, invalid("/op", "it must be emit, join, leave or disconnect")
	}
	return op, decode(raw, op)
}

// batchAnswer has a result for each operation that was begun.
type batchAnswer struct {
	Results []result `json:"results"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"` // after the first one that has failed, with stopOnError
}

type result struct {
	Status  int      `json:"status"`
	Problem *problem `json:"problem,omitempty"`
}

func (b *batchRequest) run(ctx context.Context, r *request) (int, any, *problem) {
	answer := batchAnswer{Results: make([]result, 0, len(b.parsed))}
	// As a whole it may take as long as a wait for acknowledgements.
	ctx, cancel := context.WithTimeout(ctx, r.h.c.MaxAckWait)
	defer cancel()
	for i, op := range b.parsed {
		begin := time.Now()
		status, _, p := op.run(ctx, r)
		r.audit(op, status, p, time.Since(begin))
		if p == nil {
			answer.Results = append(answer.Results, result{Status: status})
			continue
		}
		answer.Failed++
		answer.Results = append(answer.Results, result{p.Status, p.below("/operations/" + strconv.Itoa(i))})
		if b.Stop {
			answer.Skipped = len(b.parsed) - i - 1
			break
		}
	}
	return http.StatusOK, answer, nil
}
