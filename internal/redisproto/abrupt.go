package redisproto

import "net"

// Abrupt makes a connection end at once when it is closed, where its kind allows. The system would otherwise go on trying to
// deliver what Redis did not confirm, for minutes, and what is taken to be lost, and was sent again, would arrive after all.
func Abrupt(nc net.Conn) {
	if wrapper, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = wrapper.NetConn()
	}
	if c, ok := nc.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0) // it has ended, then
	}
}
