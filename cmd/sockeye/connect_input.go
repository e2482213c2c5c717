package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/muesli/cancelreader"
)

// maxLine bounds a line of input; so much may wait in the client to be sent, too.
const maxLine = 16 << 20

// source gives the lines to obey.
type source interface {
	lines() <-chan string // closed after the last one
	err() error           // why it was the last one, nil at the end of input; to be called when lines is closed
	close()               // ends it, and waits for that
}

// nothing is a source without lines, and without an end.
type nothing struct{}

func (nothing) lines() <-chan string { return nil }
func (nothing) err() error           { return nil }
func (nothing) close()               {}

// lineReader reads lines of a pipe or a file.
type lineReader struct {
	in     cancelreader.CancelReader // nil where reading cannot be interrupted, or need not be
	out    chan string
	stop   context.Context
	cancel context.CancelFunc
	why    error
}

func startReader(in io.Reader) *lineReader {
	r := &lineReader{out: make(chan string)}
	r.stop, r.cancel = context.WithCancel(context.Background())
	if in == nil {
		in = strings.NewReader("")
	}
	if c, err := cancelreader.NewReader(in); err == nil { // else it is a plain file, which never blocks
		r.in, in = c, c
	}
	go r.read(bufio.NewReaderSize(in, 64<<10)) // ends with the input, or by close, which waits for it
	return r
}

// read gives the lines one by one.
func (r *lineReader) read(in *bufio.Reader) {
	defer close(r.out)
	for {
		line, err := readLine(in)
		if line != "" || err == nil {
			select {
			case r.out <- line:
			case <-r.stop.Done():
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, cancelreader.ErrCanceled) {
				r.why = err
			}
			return
		}
	}
}

var errLongLine = errors.New("a line of the input is longer than 16 MiB")

// readLine reads up to the end of a line, which it leaves out.
func readLine(in *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return "", errLongLine
		}
		line = append(line, part...)
		if err == nil {
			return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
	}
}

func (r *lineReader) lines() <-chan string { return r.out }
func (r *lineReader) err() error           { return r.why }

// close implements source. Where reading cannot be interrupted it waits for what is being read.
func (r *lineReader) close() {
	r.cancel()
	if r.in != nil {
		r.in.Cancel()
	}
	for range r.out { // until it is closed: nobody wants these lines
	}
	if r.in != nil {
		_ = r.in.Close() // it was read only
	}
}
