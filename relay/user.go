package relay

import (
	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/relay/identity"
)

// UserOf says whom a socket of a [Server] speaks for: somebody anonymous for one that is not connected, and where
// Config.Identity is nil.
func UserOf(s *sockeye.Socket) identity.User { return accountOf(s).who() }
