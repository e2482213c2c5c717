package admin

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// What a page is told of a socket. The order of the fields is that of Node.
//
// Node: @socket.io/admin-ui SerializedSocket
type socketInfo struct {
	ID        string        `json:"id"`
	ClientID  string        `json:"clientId,omitempty"`
	Transport string        `json:"transport,omitempty"`
	NSP       string        `json:"nsp"`
	Data      parser.Arg    `json:"data"`
	Handshake handshakeInfo `json:"handshake"`
	Rooms     []string      `json:"rooms"`

	local *sockeye.Socket // nil for one of another server
}

type handshakeInfo struct {
	Address string            `json:"address"`
	Headers map[string]string `json:"headers"`
	Query   map[string]string `json:"query"`
	Issued  int64             `json:"issued"` // ms since the Unix epoch
	Secure  bool              `json:"secure"`
	Time    string            `json:"time"`
	URL     string            `json:"url"`
	XDomain bool              `json:"xdomain"`
}

// adminData is what servers keep for each other in the data of a socket, under dataKey.
type adminData struct {
	ClientID  string `json:"clientId"`
	Transport string `json:"transport"`
}

const dataKey = "_admin"

// jsTime is how JavaScript prints a date in UTC.
const jsTime = "Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)"

// local describes a socket of this server.
func (a *Admin) local(s *sockeye.Socket) socketInfo {
	data, _ := dataOf(s.Data())
	return socketInfo{
		ID: s.ID(), ClientID: s.ClientID(), Transport: s.Transport(), NSP: s.Namespace().Name(), Data: data,
		Handshake: a.handshake(s.Handshake()), Rooms: notNil(s.Rooms()), local: s,
	}
}

// remote describes a socket of any server.
func (a *Admin) remote(nsp string, r *sockeye.RemoteSocket) socketInfo {
	data, of := dataOf(r.Data)
	return socketInfo{
		ID: r.ID, ClientID: of.ClientID, Transport: of.Transport, NSP: nsp, Data: data,
		Handshake: a.handshake(&r.Handshake), Rooms: notNil(r.Rooms),
	}
}

func (a *Admin) handshake(h *sockeye.Handshake) handshakeInfo {
	return handshakeInfo{
		Address: h.Address, Headers: a.redact.headers(h.Headers), Query: a.redact.query(h.Query),
		Issued: h.Time.UnixMilli(), Secure: h.Secure, Time: h.Time.UTC().Format(jsTime), URL: a.redact.url(h.URL),
		XDomain: h.XDomain,
	}
}

func notNil(rooms []string) []string {
	if rooms == nil {
		return []string{}
	}
	return rooms
}

// maxShown bounds the bytes of data and of an argument that a page is shown.
const maxShown = 16 << 10

// dataOf gives the data of a socket as a page sees it: without what servers keep there for each other, which it
// gives beside. What is too big, or cannot be encoded, is left out with a word about it.
func dataOf(v any) (shown parser.Arg, of adminData) {
	if a, ok := v.(parser.Arg); v == nil || ok && a.IsZero() {
		return parser.RawJSON([]byte("{}")), of
	}
	plain, err := parser.Value(v).Any()
	if err != nil {
		return parser.Value(map[string]string{"...": "[cannot be encoded]"}), of
	}
	fields, ok := plain.(map[string]any)
	if !ok {
		if plain == nil {
			return parser.RawJSON([]byte("{}")), of
		}
		return show(parser.Value(plain)), of
	}
	if private, ok := fields[dataKey].(map[string]any); ok {
		of.ClientID, _ = private["clientId"].(string)
		of.Transport, _ = private["transport"].(string)
	}
	delete(fields, dataKey)
	b, err := parser.Value(fields).AppendMsgpack(nil)
	if err != nil || len(b) > maxShown {
		return parser.Value(map[string]string{"...": fmt.Sprintf("[%d bytes]", len(b))}), of
	}
	return parser.RawMsgpack(b), of
}

// withAdminData gives the data of a socket as other servers get it, so that they can show its transport and client.
// Data that is no object stays as it is.
//
// Node: @socket.io/admin-ui registerVerboseListeners
func withAdminData(s *sockeye.Socket, data parser.Arg) parser.Arg {
	of := adminData{s.ClientID(), s.Transport()}
	if data.IsZero() {
		return parser.Value(map[string]any{dataKey: of})
	}
	text, err := data.AppendJSON(nil)
	if errors.Is(err, parser.ErrBinary) {
		return withBinary(data, of)
	}
	text = bytes.TrimLeft(text, " \t\r\n")
	switch {
	case err != nil:
		return data // it is said elsewhere
	case string(text) == "null":
		return parser.Value(map[string]any{dataKey: of})
	case len(text) < 2 || text[0] != '{':
		return data
	}
	own, err := json.Marshal(of)
	if err != nil {
		return data
	}
	// Data of a recovered session may have an older one, which comes later and would win.
	all := slices.Concat([]byte(`{"`+dataKey+`":`), own)
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) == nil {
		if _, ok := fields[dataKey]; ok {
			return withBinary(data, of)
		}
	}
	if rest := bytes.TrimLeft(text[1:], " \t\r\n"); rest[0] != '}' {
		all = append(all, ',')
	}
	return parser.RawJSON(append(all, text[1:]...))
}

// withBinary is withAdminData for what JSON alone cannot hold.
func withBinary(data parser.Arg, of adminData) parser.Arg {
	plain, err := data.Any()
	if fields, ok := plain.(map[string]any); err == nil && ok {
		fields[dataKey] = of
		return parser.Value(fields)
	}
	return data
}

// show encodes an argument now, since what is in it may change. One that is too big is replaced by a word about it.
func show(arg parser.Arg) parser.Arg {
	b, err := arg.AppendMsgpack(nil)
	switch {
	case err != nil:
		return parser.Value("[cannot be encoded]")
	case len(b) > maxShown:
		return parser.Value(fmt.Sprintf("[%d bytes]", len(b)))
	}
	return parser.RawMsgpack(b)
}

// date is a moment as JavaScript's Date: text in JSON, a date in MessagePack.
func date(t time.Time) parser.Arg {
	b := append(make([]byte, 0, 10), 0xd7, 0x00)
	return parser.RawMsgpack(binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli())))
}

// eventArgs is an event with its arguments, the name first.
func eventArgs(event string, args []parser.Arg) []parser.Arg {
	const most = 64
	all := append(make([]parser.Arg, 0, min(len(args), most)+1), parser.Value(strings.Clone(event)))
	for i, arg := range args {
		if i == most {
			return append(all, parser.Value(fmt.Sprintf("[%d more]", len(args)-most)))
		}
		all = append(all, show(arg))
	}
	return all
}

// since is when the connection of a socket was opened.
func (i *socketInfo) since() time.Time { return time.UnixMilli(i.Handshake.Issued) }
