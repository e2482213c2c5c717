package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/parser"
)

// action is what a typed line asks for.
type action uint8

const (
	doNothing action = iota
	doSend
	doAsk // send, with an acknowledgement
	doReply
	doHelp
	doQuit
)

// typed is a typed line, understood.
type typed struct {
	what     action
	event    string
	args     []any
	question int  // of doReply
	doubtful bool // a text that may have been meant as JSON
}

const lineHelp = `/emit NAME ARGUMENTS   send another event
/ack NAME ARGUMENTS    send another event and wait for its acknowledgement
/reply N ARGUMENTS     acknowledge event N of the server
/quit                  end, as at the end of input
/help                  say this
Any other line is sent. ARGUMENTS are JSON values, or else one text; // stands for a slash at the start.`

// parseLine understands a line. With raw it is a text to send, whatever it is.
func parseLine(line, event string, raw bool) (typed, error) {
	if !utf8.ValidString(line) {
		return typed{}, errors.New("a line that is not UTF-8 is not sent")
	}
	if raw {
		return typed{what: doSend, event: event, args: []any{line}}, nil
	}
	if strings.TrimSpace(line) == "" {
		return typed{}, nil
	}
	if rest, ok := strings.CutPrefix(line, "/"); ok && !strings.HasPrefix(rest, "/") {
		return parseCommand(rest)
	} else if ok {
		line = rest
	}
	return withArguments(typed{what: doSend, event: event}, line), nil
}

func parseCommand(line string) (o typed, err error) {
	name, rest := cutWord(line)
	switch name {
	case "help":
		return typed{what: doHelp}, nil
	case "quit":
		return typed{what: doQuit}, nil
	case "emit", "ack":
		o.what = doSend
		if name == "ack" {
			o.what = doAsk
		}
		if o.event, rest, err = cutName(rest); err != nil {
			return o, err
		}
		return withArguments(o, rest), nil
	case "reply":
		number, rest := cutWord(rest)
		n, err := strconv.Atoi(strings.TrimPrefix(number, "#"))
		if err != nil {
			return o, errors.New("/reply needs the number of the event, as in /reply 1 \"ok\"")
		}
		return withArguments(typed{what: doReply, question: n}, rest), nil
	}
	return o, errors.New("no command /" + harmless(cut(name, sampleSize)) + ": /help lists them, and // sends a slash")
}

// cutWord gives the first word of a line, and what comes after the blanks behind it.
func cutWord(s string) (word, rest string) {
	i := strings.IndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeftFunc(s[i:], unicode.IsSpace)
}

// cutName is cutWord for the name of an event, which may be a JSON string.
func cutName(s string) (name, rest string, err error) {
	name, rest = cutWord(s)
	if strings.HasPrefix(s, `"`) {
		d := json.NewDecoder(strings.NewReader(s))
		if err := d.Decode(&name); err != nil {
			return "", "", errors.New("the name of the event is not JSON: " + whyNot(s))
		}
		rest = strings.TrimLeftFunc(s[d.InputOffset():], unicode.IsSpace)
	} else if name == "" {
		return "", "", errors.New("the name of the event is missing")
	}
	if parser.Reserved(name) {
		return "", "", errors.New(quoted(name) + " is an event that only the protocol may send")
	}
	return name, rest, nil
}

// withArguments reads what is sent: JSON values with blanks between them, or else the whole as one text.
func withArguments(o typed, s string) typed {
	values, ok := jsonValues(s)
	if !ok {
		values, o.doubtful = []any{s}, strings.IndexAny(strings.TrimLeft(s, " \t"), `{["`) == 0
	}
	o.args = values
	return o
}

// jsonValues gives the JSON values that a text consists of, ok if it consists of such.
func jsonValues(s string) (values []any, ok bool) {
	d := json.NewDecoder(strings.NewReader(s))
	for {
		var v json.RawMessage
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			return values, true
		}
		if err != nil {
			return nil, false
		}
		if rest := s[d.InputOffset():]; rest != "" && !strings.ContainsRune(" \t\r\n", rune(rest[0])) {
			return nil, false
		}
		values = append(values, parser.RawJSON(bytes.Clone(v)))
	}
}
