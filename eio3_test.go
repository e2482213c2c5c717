package sockeye_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

func (b *bundle) dial3(query string) *peer {
	b.t.Helper()
	return b.dialWith(engineio.DialConfig{Protocol: 3}, query)
}

func TestEIO3(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{AllowEIO3: true})
	c := sockets(b)
	echo(b)
	p := b.dial3("?a=1%202%2B3")
	p.want("0")
	s := get(t, "socket", c)
	if s.ID() != p.conn.ID() || s.Handshake().Query["a"] != "1 2+3" || !s.Handshake().Auth.IsZero() {
		t.Errorf("id %q, handshake %+v", s.ID(), s.Handshake())
	}
	p.send(`21["echo",1,"é"]`)
	p.want(`31[1,"é"]`)
	p.send(`51-2["echo",{"_placeholder":true,"num":0}]`)
	p.sendBinary([]byte("bin"))
	p.want(`61-2[{"_placeholder":true,"num":0}]`)
	p.wantBinary("bin")

	// Another namespace, with its own auth, whose answer has no query.
	chat := b.Of("/chat")
	echo(chat)
	cc := sockets(chat)
	p.send("0/chat?token=x+y,")
	p.want("0/chat,")
	s2 := get(t, "socket", cc)
	var auth struct{ Token string }
	if err := s2.Auth(&auth); err != nil || auth.Token != "x y" || s2.ID() != "/chat#"+p.conn.ID() {
		t.Errorf("id %q, auth %+v, %v", s2.ID(), auth, err)
	}
	p.send(`2/chat,1["echo"]`)
	p.want(`3/chat,1[]`)

	// One broadcast for both generations.
	now, _ := b.connect()
	get(t, "socket", c)
	if err := b.Emit("all", 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*peer{p, now} {
		p.want(`51-["all",1,{"_placeholder":true,"num":0}]`)
		p.wantBinary("x")
	}

	p.send("1/chat")
	p.send("0/chat,")
	p.want("0/chat,")
	p.send("0")
	p.ended()
}

func TestEIO3_Refusals(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{AllowEIO3: true})
	b.Use(func(_ context.Context, s *sockeye.Socket) error {
		switch s.Handshake().Query["as"] {
		case "text":
			return errors.New("text")
		case "data":
			return &sockeye.ConnectError{Message: "m", Data: map[string]string{"content": "c"}}
		}
		return nil
	})
	b.Of("/open")
	for query, want := range map[string]string{"?as=text": `4"text"`, "?as=data": `4{"content":"c"}`} {
		p := b.dial3(query)
		p.want(want)
		p.send("0/open,") // other namespaces remain possible
		p.want("0/open,")
		p.send("0/nope,")
		p.want(`4/nope,{"message":"Invalid namespace"}`)
	}
	p := b.dial3("")
	p.want("0")
	p.send("0//,")
	p.ended()
	p = b.dial3("")
	p.want("0")
	if err := b.To(p.conn.ID()).Disconnect(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	p.want("1")
	p.ended()
}

func TestEIO3_OffByDefault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := engineio.Dial(t.Context(), b.url, engineio.DialConfig{Protocol: 3}, &peer{t: t, in: make(chan message, 8)})
	if err == nil {
		t.Error("let in")
	}
}

// A codec that differs between generations.
type marked struct{ parser.Parser }

func (m marked) Encode(p *parser.Packet, protocol int) (parser.Frames, error) {
	f, err := m.Parser.Encode(p, protocol)
	if p.Type == parser.Event && protocol == 4 {
		f.Head = append(f.Head, " for 2.x"...)
	}
	return f, err
}

func TestEIO3_OwnParser(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{AllowEIO3: true, Parser: marked{parser.JSON()}})
	c := sockets(b)
	old := b.dial3("")
	old.want("0")
	now, _ := b.connect()
	get(t, "socket", c)
	get(t, "socket", c)
	if err := b.Emit("e"); err != nil {
		t.Fatal(err)
	}
	old.want(`2["e"] for 2.x`)
	now.want(`2["e"]`)
}
