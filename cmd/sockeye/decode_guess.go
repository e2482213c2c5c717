package main

import (
	"bytes"
	"unicode/utf8"
)

// guess says of which kind a message is most likely, "" where it is like none. waiting tells that an attachment is due.
func guess(b []byte, waiting bool) string {
	switch {
	case len(b) == 0:
		return kindEIO
	case waiting && !isFrame(b):
		return kindEIO
	case b[0] < 2 && bytes.IndexByte(b[:min(len(b), 12)], 255) > 0:
		return kindPolling
	case b[0] >= 0x80:
		return guessMsgpack(b)
	case b[0] == '{':
		return guessJSON(b)
	case isPayloadV3(b), bytes.IndexByte(b, 0x1e) > 0:
		return kindPolling
	}
	return guessFrame(b)
}

func guessMsgpack(b []byte) string {
	if b[0]&0xf0 == 0x90 && len(b) > 1 && b[1] == 1 { // an array that begins with its version
		return kindControl
	}
	if b[0] == 0x93 {
		return kindClassic
	}
	n, _ := msgpackTree(b, 0)
	switch {
	case n.kind != nodeObject:
		return ""
	case n.get("requestId").kind != nodeMissing && n.get("uid").kind != nodeMissing:
		return kindRequest
	case n.get("requestId").kind != nodeMissing:
		return kindResponse
	case n.get("uid").kind != nodeMissing:
		return kindSharded
	case n.get("type").kind != nodeMissing:
		return kindSIO
	}
	return ""
}

func guessJSON(b []byte) string {
	n, _ := jsonTree(b, 0)
	has := func(key string) bool { return n.get(key).kind != nodeMissing }
	switch {
	case n.get("type").kind == nodeText && has("nsp"):
		return kindStream
	case has("uid") && has("nsp") || has("type") && has("data") && !has("requestId") && has("nsp"):
		return kindSharded
	case has("type") && (n.get("type").text == "8" || n.get("type").text == "9" || n.get("type").text == "6" && !has("uid") && !has("sid")):
		return kindResponse
	case has("type") && !has("clientCount"):
		return kindRequest
	case has("requestId"), has("requestid"), has("sockets"), has("clients"), has("rooms"), has("data"):
		return kindResponse
	}
	return ""
}

// guessFrame tells an Engine.IO packet from a Socket.IO packet: most of their first characters are the same.
func guessFrame(b []byte) string {
	c := b[0]
	switch {
	case !utf8.Valid(b):
		return ""
	case c == 'b':
		return kindEIO
	case c < '0' || c > '6':
		return ""
	case len(b) == 1:
		return kindEIO
	case c == '0':
		if bytes.Contains(b, []byte(`"pingInterval"`)) {
			return kindEIO
		}
		return kindSIO
	case c == '4':
		if b[1] == '{' || b[1] == '/' || b[1] == '"' {
			return kindSIO
		}
		return kindEIO
	case string(b[1:]) == "probe":
		return kindEIO
	}
	return kindSIO
}
