package redisproto

import "strings"

// Slots is how many slots a Redis Cluster has.
const Slots = 16384

// crcTable is that of CRC16-XMODEM for half bytes.
var crcTable = [16]uint16{
	0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
	0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
}

// Slot gives the slot of a key or a channel: that of what is in its first braces, where there is something.
//
// Protocol: Redis Cluster specification, "Hash tags"
func Slot(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		b := key[i]
		crc = crc<<4 ^ crcTable[byte(crc>>12)^b>>4]
		crc = crc<<4 ^ crcTable[byte(crc>>12)^b&15]
	}
	return int(crc) % Slots
}
