package sockeye

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/sockeye-io/sockeye/parser"
)

// ClientID names the connection of the client: all its sockets have the same, and those of no other connection. It has
// 12 characters, and says nothing of the id of the session, which is a secret.
//
// Differs from Node: there is no such method, but the id of the session itself, as client.id
func (s *Socket) ClientID() string {
	sum := sha256.Sum256([]byte(s.conn.eng.ID()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// DescribeData has f give what FetchSockets tells of the data of each socket, here and on other servers. f must not block,
// nor change data, which is the zero Arg where there is none. With several, each gets what the one before gave. After a
// panic in f what it was given is told.
//
// Differs from Node: there the data itself would have to be changed
func (s *Server) DescribeData(f func(s *Socket, data parser.Arg) parser.Arg) (off func()) {
	return s.describers.Add(f)
}

// describe gives the data of a socket as others are told of it.
func (s *Socket) describe() parser.Arg {
	var data parser.Arg
	if v := s.Data(); v != nil {
		data = parser.Value(v)
	}
	srv := s.nsp.srv
	for _, f := range srv.describers.All() {
		if err := srv.guard("description of data", func() { data = (*f)(s, data) }); err != nil {
			srv.report((*socketContext)(s), err)
		}
	}
	return data
}
