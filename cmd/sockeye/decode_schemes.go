package main

import "strconv"

// scheme says what the values at the paths of a message mean. A path is the keys on the way, with dots between; * stands
// for any index of an array.
type scheme map[string]meaning

// meaning is what is known of one value.
type meaning struct {
	words string
	kinds []nodeKind        // that it may be; none: any
	names map[string]string // what its values mean
	must  bool              // it must be there
}

// child gives the path of an element.
func (s scheme) child(path string, i int) string {
	exact := join2(path, strconv.Itoa(i))
	if _, ok := s[exact]; ok {
		return exact
	}
	return join2(path, "*")
}

func join2(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// with adds other meanings below a path.
func (s scheme) with(path string, others scheme) scheme {
	for p, m := range others {
		if p == "" {
			s[path] = m
			continue
		}
		s[join2(path, p)] = m
	}
	return s
}

func text(words string) meaning     { return meaning{words: words, kinds: []nodeKind{nodeText}} }
func number(words string) meaning   { return meaning{words: words, kinds: []nodeKind{nodeNumber}} }
func list(words string) meaning     { return meaning{words: words, kinds: []nodeKind{nodeList}} }
func object(words string) meaning   { return meaning{words: words, kinds: []nodeKind{nodeObject}} }
func anything(words string) meaning { return meaning{words: words} }

func (m meaning) required() meaning {
	m.must = true
	return m
}

func (m meaning) named(names ...string) meaning {
	m.names = map[string]string{}
	for i, n := range names {
		if n != "" {
			m.names[strconv.Itoa(i)] = n
		}
	}
	return m
}

// event is an event with its arguments.
func eventScheme(words string) scheme {
	return scheme{
		"":  list(words).required(),
		"0": {words: "name of the event", kinds: []nodeKind{nodeText, nodeNumber}, must: true},
		"*": anything("argument"),
	}
}

func packetScheme() scheme {
	return scheme{
		"":     object("Socket.IO packet").required(),
		"type": number("packet type").named(packetTypes...).required(),
		"nsp":  text("namespace"),
		"id":   number("acknowledgement id, of the asking server"),
	}.with("data", eventScheme("payload"))
}

func optionsScheme() scheme {
	return scheme{
		"":                           object("which sockets").required(),
		"rooms":                      anything("those in any of these rooms; none: all"),
		"rooms.*":                    anything("room"),
		"except":                     anything("but none in these rooms"),
		"except.*":                   anything("room"),
		"flags":                      anything("flags"),
		"flags.volatile":             anything("may be dropped where the transport cannot take it"),
		"flags.compress":             anything("whether to compress"),
		"flags.broadcast":            anything("not to the sender"),
		"flags.local":                anything("this server alone"),
		"flags.timeout":              anything("how long acknowledgements are waited for, in ms"),
		"flags.expectSingleResponse": anything("one socket is asked"),
	}
}

func socketsScheme(words string) scheme {
	return scheme{
		"":                    list(words),
		"*":                   anything("socket"),
		"*.id":                text("its id").required(),
		"*.handshake":         object("its handshake"),
		"*.handshake.address": anything("its address"),
		"*.rooms":             list("the rooms that it is in"),
		"*.rooms.*":           anything("room"),
		"*.data":              anything("what the server attached to it"),
	}
}

// classicScheme is what is published on the channels of broadcasts of the classic adapter.
func classicScheme() scheme {
	return scheme{
		"":  list("broadcast of the classic adapter"),
		"0": text(`uid of the sending server ("emitter": it is none)`).required(),
	}.with("1", packetScheme()).with("2", optionsScheme())
}

// requestScheme is what is published on the request channel of the classic adapter.
func requestScheme(legacy bool) scheme {
	names := requestNames
	if legacy {
		names = legacyRequestNames
	}
	return scheme{
		"":          object("request of the classic adapter"),
		"uid":       anything("uid of the asking server"),
		"requestId": anything("id of the request, which answers repeat"),
		"requestid": anything("id of the request, as socket.io-redis 5 writes it"),
		"type":      number("what is asked").named(names...).required(),
		"rooms":     list("rooms"), "rooms.*": anything("room"),
		"sid": anything("the only socket, in the old form"), "room": anything("room, in the old form"),
		"close":  anything("the connection too"),
		"data":   anything("event for the servers, and its arguments"),
		"data.0": anything("name of the event"), "data.*": anything("argument"),
	}.with("packet", optional(packetScheme())).with("opts", optional(optionsScheme()))
}

// optional gives a scheme whose outermost value need not be there.
func optional(s scheme) scheme {
	m := s[""]
	m.must = false
	s[""] = m
	return s
}

// responseScheme is what is published on the response channels of the classic adapter.
func responseScheme() scheme {
	return scheme{
		"":            object("response of the classic adapter"),
		"requestId":   anything("id of the request that this answers"),
		"requestid":   anything("id of the request that this answers, as socket.io-redis 5 writes it"),
		"type":        number("what is answered").named(requestNames...),
		"clientCount": number("how many sockets will acknowledge"),
		"packet":      anything("what a socket acknowledged with"),
		"data":        anything("what a server answered"),
		"rooms":       list("rooms"), "rooms.*": anything("room"),
		"clients": list("ids of sockets"), "clients.*": anything("socket"),
	}.with("sockets", socketsScheme("sockets"))
}

// messageScheme is what servers of the sharded adapter, and those of streams, publish.
func messageScheme(kind string) scheme {
	return scheme{
		"":     object("message of the sharded adapter or of that of streams"),
		"uid":  text(`uid of the sending server ("emitter": it is none)`),
		"nsp":  text("namespace"),
		"type": number("message type").named(messageNames...).required(),
	}.with("data", dataScheme(kind))
}

// dataScheme is the data of a message of a type.
func dataScheme(kind string) scheme {
	s := scheme{
		"":            anything("data"),
		"requestId":   text("id of the request"),
		"rooms":       list("rooms to join or leave"),
		"rooms.*":     anything("room"),
		"close":       anything("the connection too"),
		"clientCount": number("how many sockets will acknowledge"),
		"packet":      anything("what was answered"),
	}.with("sockets", socketsScheme("sockets"))
	switch kind {
	case "3":
		s.with("packet", packetScheme()).with("opts", optionsScheme())
	case "4", "5", "6", "7":
		s.with("opts", optionsScheme())
	case "9":
		s.with("packet", eventScheme("event for the servers, and its arguments"))
	}
	return s
}

func entryScheme() scheme {
	return scheme{
		"":     anything("entry of a stream"),
		"uid":  text(`uid of the sending server ("emitter": it is none)`),
		"nsp":  text("namespace").required(),
		"type": text("message type").named(messageNames...).required(),
		"data": text("data, see below"),
	}
}

// controlScheme is a message among servers of this implementation: an array, whose elements from 3 on depend on its kind.
func controlScheme(kind string) scheme {
	s := scheme{
		"":  list("message among servers of Sockeye"),
		"0": number("version").required(),
		"1": number("kind").named(controlNames...).required(),
		"2": text("id of the sending server").required(),
	}
	serial := number("number of the last change of what it has open").required()
	members := list("namespaces that it has open, and its uid in each").required()
	var rest []meaning
	switch kind {
	case "1":
		rest = []meaning{serial}
	case "2", "3":
		rest = []meaning{serial, anything("whether these are all").required(), members}
	case "4":
		rest = []meaning{serial, list("namespaces that it has closed, and its uid in each").required()}
	case "6", "7", "8":
		rest = []meaning{text("uid in the namespace").required(), text("namespace").required()}
	}
	switch kind {
	case "6":
		rest = append(rest, text("id of the request").required(), number("what is asked").named("", "how many sockets", "rooms").required(),
			list("those in any of these rooms; none: all").required(), list("but none in these rooms").required())
	case "7":
		rest = append(rest, text("id of the request").required(), anything("whether nothing more follows").required(),
			number("how many sockets").required(), list("rooms and how many sockets are in each").required())
	case "8":
		rest = append(rest, anything("answer in the form of the classic adapter").required())
	}
	for i, m := range rest {
		s[strconv.Itoa(3+i)] = m
	}
	return s
}

func handshakeScheme() scheme {
	return scheme{
		"":             object("handshake"),
		"sid":          text("id of the session").required(),
		"upgrades":     list("transports to upgrade to").required(),
		"upgrades.*":   text("transport"),
		"pingInterval": number("ms between pings").required(),
		"pingTimeout":  number("ms until a missing pong, or ping, ends the session").required(),
		"maxPayload":   number("most bytes of a message, or of a polling body"),
	}
}

// msgpackPacketScheme is a packet of socket.io-msgpack-parser.
func msgpackPacketScheme() scheme {
	return scheme{
		"":     object("Socket.IO packet of socket.io-msgpack-parser"),
		"type": number("packet type").named(packetTypes...).required(),
		"nsp":  text("namespace").required(),
		"id":   anything("acknowledgement id"),
		"data": anything("payload"), "data.0": anything("name of the event, or first argument"), "data.*": anything("argument"),
	}
}

// Names of numbers in messages, by number.
var (
	packetTypes  = []string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"}
	requestNames = []string{
		"which sockets are there", "which rooms are there", "sockets join rooms", "sockets leave rooms", "disconnect sockets",
		"fetch sockets", "event among servers", "broadcast with acknowledgement", "how many sockets will acknowledge",
		"one acknowledgement",
	}
	legacyRequestNames = []string{ // of socket.io-redis 5
		"which sockets are there", "which rooms is a socket in", "which rooms are there", "a socket joins a room",
		"a socket leaves a room", "a question of the application", "disconnect a socket",
	}
	controlNames = []string{
		"", "the server is there", "it has opened namespaces", "answer to that", "it has closed namespaces", "it ends",
		"question", "answer", "answer in the form of the classic adapter",
	}
	messageNames = []string{
		"", "first heartbeat", "heartbeat", "broadcast", "sockets join rooms", "sockets leave rooms", "disconnect sockets",
		"fetch sockets", "sockets that were fetched", "event among servers", "answer to an event among servers",
		"how many sockets will acknowledge", "one acknowledgement", "server ends",
	}
)
