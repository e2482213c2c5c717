package rediswire

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// vector is one captured action and what servers published because of it.
type vector struct {
	Name     string    `json:"name"`
	Call     string    `json:"call"`
	Commands []command `json:"commands"`

	Channel string `json:"channel"` // of single inputs
	Payload string `json:"payload_hex"`

	Fields map[string]string `json:"fields"` // of a stream entry
	Stream string            `json:"stream"` // of a namespace
}

type command struct {
	Node    string   `json:"node"`
	Command string   `json:"command"`
	Channel string   `json:"channel"`
	Payload string   `json:"payload_hex"`
	Args    []string `json:"args"`
}

func load(tb testing.TB, name string) []vector {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	var f struct{ Vectors []vector }
	if err := json.Unmarshal(b, &f); err != nil {
		tb.Fatal(err)
	}
	if len(f.Vectors) == 0 {
		tb.Fatalf("%s: no vectors", name)
	}
	return f.Vectors
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func unbase64(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// published gives every payload that a capture has on channels of a kind: "#", "-request#" or "-response#".
func published(tb testing.TB, kind string, files ...string) map[string][]byte {
	tb.Helper()
	all := map[string][]byte{}
	for _, f := range files {
		for _, v := range load(tb, f) {
			for i, c := range v.Commands {
				if c.Command == "PUBLISH" && channelKind(c.Channel) == kind {
					all[f+": "+v.Name+" "+string(rune('a'+i))] = unhex(tb, c.Payload)
				}
			}
		}
	}
	if len(all) == 0 {
		tb.Fatal("no payloads")
	}
	return all
}

func channelKind(channel string) string {
	for i := range len(channel) {
		if channel[i] == '#' || channel[i] == '-' {
			for j := i; j < len(channel); j++ {
				if channel[j] == '#' {
					return channel[i : j+1]
				}
			}
		}
	}
	return ""
}

var captures = []string{
	"classic-8.3.0.json", "classic-8.3.0-specific-response.json", "classic-7.2.0.json", "classic-6.1.1.json",
	"classic-5.4.0.json", "classic-mixed.json", "emitter-5.1.0.json", "emitter-4.1.1.json", "emitter-3.2.0.json",
}
