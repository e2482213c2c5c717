package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// captured is what official servers and emitters wrote to Redis.
type captured struct {
	Vectors []struct {
		Name     string
		Commands []struct {
			Command    string
			Channel    string
			PayloadHex string `json:"payload_hex"`
			Payload    struct{ Hex string }
			Args       []string
		}
	}
}

// TestDecode_Captured: whatever official servers and emitters publish is understood, and its kind is guessed right.
func TestDecode_Captured(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../internal/rediswire/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := map[string]int{}
	for _, file := range files {
		if strings.Contains(file, "malformed") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c captured
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, v := range c.Vectors {
			for _, cmd := range v.Commands {
				text := cmd.PayloadHex
				if text == "" {
					text = cmd.Payload.Hex
				}
				if cmd.Command == "XADD" {
					seen[kindStream]++
					line := []string{quote("XADD"), quote("socket.io"), quote("*")}
					for _, a := range cmd.Args {
						line = append(line, quote(a))
					}
					if code, out, _ := decoded(t, strings.Join(line, " ")); code != exitOK || !strings.Contains(out, "(stream)") {
						t.Errorf("%s, %s: exit %d, no entry: %s", filepath.Base(file), v.Name, code, out)
					}
				}
				if text == "" {
					continue
				}
				payload, err := hex.DecodeString(text)
				if err != nil {
					t.Fatal(err)
				}
				kind := kindOfChannel(cmd.Channel, payload)
				seen[kind]++
				code, out, _ := decoded(t, string(payload), "--raw")
				if code != exitOK || !strings.Contains(out, "("+kind+")") {
					t.Errorf("%s, %s: exit %d, not %s: %s", filepath.Base(file), v.Name, code, kind, out)
				}
			}
		}
	}
	t.Log(seen)
	for _, kind := range []string{kindClassic, kindRequest, kindResponse, kindSharded, kindStream} {
		if seen[kind] == 0 {
			t.Errorf("nothing of kind %s was there", kind)
		}
	}
}

func kindOfChannel(channel string, payload []byte) string {
	switch {
	case strings.Contains(channel, "-request#"):
		return kindRequest
	case strings.Contains(channel, "-response#"):
		return kindResponse
	case payload[0] == 0x93:
		return kindClassic
	}
	return kindSharded
}

// quote writes a text as redis-cli does.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteString("\\" + s[i:i+1])
		case c < ' ' || c > '~':
			b.WriteString("\\x" + hex.EncodeToString([]byte{c}))
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
