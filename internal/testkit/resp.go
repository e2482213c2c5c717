package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// redisReply reads a reply of RESP2: a string, an int64, a []any or nil. An error reply is the error.
func redisReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("testkit: empty line from redis")
	}
	rest := line[1:]
	if line[0] == '+' {
		return rest, nil
	}
	if line[0] == '-' {
		return nil, errors.New(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("testkit: malformed reply of redis: %w", err)
	}
	switch {
	case line[0] == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case line[0] == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = redisReply(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// redisCommand sends one command.
func redisCommand(c net.Conn, args ...string) (any, error) {
	if err := c.SetDeadline(time.Now().Add(Scale(5 * time.Second))); err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	return redisReply(bufio.NewReader(c))
}
