package rediswire

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// UIDEmitter is the uid of emitters that ask nothing.
const UIDEmitter = "emitter"

// EntryFields gives the names and values of a stream entry for a broadcast, a command or a server-side event. Data with
// binary is MessagePack in base64; with plaintext it is the JSON of a Buffer. The errors are those of AppendMessage.
//
// Node: @socket.io/redis-streams-adapter/lib/adapter.ts encode.
func EntryFields(m *Message, plaintext bool) ([]string, error) {
	return entryFields(m, plaintext, false)
}

func entryFields(m *Message, plaintext, emitter bool) ([]string, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Type > MessageDisconnect && m.Type != MessageServerSide {
		return nil, fmt.Errorf("%w: type %d in a stream", ErrMessage, m.Type)
	}
	w := writer{b: make([]byte, 0, 256), json: true, text: plaintext, dates: true}
	err := w.messageData(m, emitter)
	if w.binary {
		w = writer{b: w.b[:0], dates: true}
		err = w.messageData(m, emitter)
	}
	if err != nil {
		return nil, err
	}
	data := string(w.b)
	if !w.json {
		data = base64.StdEncoding.EncodeToString(w.b)
	}
	return []string{
		"uid", m.UID, "nsp", strings.ToValidUTF8(m.Namespace, "\ufffd"), "type", strconv.Itoa(int(m.Type)), "data", data,
	}, nil
}

// PeekEntry gives the sender, the namespace and the type of a stream entry without reading its data; ok is false where
// it is no entry of servers.
func PeekEntry(fields []string) (uid, namespace string, t MessageType, ok bool) {
	uid, namespace, t, _, ok = peekEntry(fields)
	return uid, namespace, t, ok
}

// peekEntry gives the data besides; of several fields of a name it takes the last, as JavaScript does.
func peekEntry(fields []string) (uid, namespace string, t MessageType, data string, ok bool) {
	kind := ""
	for i := 0; i+1 < len(fields); i += 2 {
		switch v := fields[i+1]; fields[i] {
		case "uid":
			uid = v
		case "nsp":
			namespace = v
		case "type":
			kind = v
		case "data":
			data = v
		}
	}
	n, err := strconv.Atoi(kind)
	ok = err == nil && n >= int(MessageInitialHeartbeat) && n <= int(MessageClose) && namespace != "" && utf8.ValidString(namespace)
	if !ok {
		return uid, namespace, 0, data, false
	}
	return uid, namespace, MessageType(n), data, true
}

// ParseEntry reads a stream entry. The error is as for ParseMessage.
func ParseEntry(fields []string) (Message, error) {
	var m Message
	var data string
	var ok bool
	if m.UID, m.Namespace, m.Type, data, ok = peekEntry(fields); !ok {
		return m, errMessageType
	}
	var v value
	if data != "" {
		var err error
		if v, err = entryData(data); err != nil {
			return m, malformed("data of entry", err)
		}
	}
	return m, m.read(v)
}

// entryData checks the data of an entry, which is JSON or MessagePack in base64.
func entryData(data string) (value, error) {
	if data[0] == '{' {
		return checked([]byte(data))
	}
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return value{}, err
	}
	if isJSON(b) {
		return value{}, errKind
	}
	return checked(b)
}

// StreamName names the stream of a namespace where there are count of them.
//
// Node: @socket.io/redis-streams-adapter/lib/util.ts hashCode. A negative hash gives a negative number, so that no Node
// server reads the stream.
func StreamName(name, namespace string, count int) string {
	if count <= 1 {
		return name
	}
	var h int32
	for _, c := range utf16.Encode([]rune(namespace)) {
		h = h*31 + int32(c)
	}
	return name + "-" + strconv.Itoa(int(h)%count)
}
