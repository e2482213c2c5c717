package parser

import (
	"errors"
	"fmt"
)

// Errors. Those of a decoder all wrap ErrInvalid.
var (
	// ErrInvalid is a message that does not follow the protocol or exceeds a limit.
	ErrInvalid = errors.New("parser: invalid packet")

	// ErrBinary is returned where binary cannot be: in the payload of CONNECT and CONNECT_ERROR, and
	// where JSON alone is asked for.
	ErrBinary = errors.New("parser: binary data where none can be")

	// ErrArg is an argument whose JSON or MessagePack is malformed or nested too deeply.
	ErrArg = errors.New("parser: malformed argument")

	// ErrNamespace is a namespace that cannot be encoded: one that does not begin with a slash, or has a
	// comma in it.
	ErrNamespace = errors.New("parser: namespace cannot be encoded")

	// ErrPlaceholder is an object that looks like the placeholder of an attachment, in a packet that has attachments
	// but not that one. Its receivers would close their connections.
	ErrPlaceholder = errors.New("parser: data that looks like a missing attachment")

	errEmpty       = invalid("empty message")
	errType        = invalid("unknown packet type")
	errAttachments = invalid("illegal number of attachments")
	errTooMany     = invalid("too many attachments")
	errTooLarge    = invalid("attachments too large")
	errPlaceholder = invalid("illegal placeholder")
	errUnexpected  = invalid("binary message without a packet")
	errText        = invalid("text message instead of an attachment")
	errNamespace   = invalid("illegal namespace")
	errID          = invalid("acknowledgement id too large")
	errPayload     = invalid("invalid payload")
	errReserved    = invalid("reserved event name")
	errDeepValue   = errors.New("parser: value nested too deeply")
	errPacketType  = errors.New("parser: unknown packet type")
)

func invalid(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }
