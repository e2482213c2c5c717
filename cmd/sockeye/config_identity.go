package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/settings"
	"github.com/sockeye-io/sockeye/relay"
	"github.com/sockeye-io/sockeye/relay/identity"
)

// jwtOptions say how tokens are checked. Without secret and keys nobody is asked who they are.
type jwtOptions struct {
	secret, keys, keysURL  string
	algorithms             []string
	issuer                 string
	audience               []string
	leeway, warning        time.Duration
	withoutExpiry          bool
	anonymous              bool
	query                  string
	user, rooms, nameClaim string
}

// roomOptions say what clients may do in rooms.
type roomOptions struct {
	rules    roomRules
	fallback string
	everyone string
}

// roomRules is a setting with a structure.
type roomRules struct{ list []relay.Rule }

// roomRule is one rule in the file.
type roomRule struct {
	Rooms   string `yaml:"rooms"`
	Join    string `yaml:"join,omitempty"`
	Publish string `yaml:"publish,omitempty"`
	Hidden  bool   `yaml:"hidden,omitempty"`
}

// UnmarshalSetting implements settings.Unmarshaler.
func (r *roomRules) UnmarshalSetting(n *settings.Node) error {
	var list []roomRule
	if err := n.Strict(&list); err != nil {
		return err
	}
	r.list = nil
	for i, rule := range list {
		if rule.Rooms == "" {
			return fmt.Errorf("rule %d: rooms, the pattern of their names, is missing", i+1)
		}
		r.list = append(r.list, relay.Rule{
			Rooms: rule.Rooms, Join: relay.Who(rule.Join), Publish: relay.Who(rule.Publish), Hidden: rule.Hidden,
		})
	}
	return nil
}

// Show implements settings.Unmarshaler.
func (r *roomRules) Show() any {
	list := make([]roomRule, 0, len(r.list))
	for _, rule := range r.list {
		list = append(list, roomRule{rule.Rooms, string(rule.Join), string(rule.Publish), rule.Hidden})
	}
	return list
}

func identityKeys(o *options) []settings.Key {
	const group = "Identity"
	j := &o.jwt
	return []settings.Key{
		{Group: group, Name: "jwt.secret", Into: &j.secret, Secret: true, Help: "key of HS256 for the tokens of clients, of 32 bytes at least"},
		{Group: group, Name: "jwt.keys", Into: &j.keys, Help: "file with public keys (PEM) or a JWKS; it is read again when it changes"},
		{Group: group, Name: "jwt.keys-url", Into: &j.keysURL, Help: "where the issuer publishes them, as https://issuer/.well-known/jwks.json"},
		{Group: group, Name: "jwt.algorithms", Into: &j.algorithms, Choices: []string{"HS256", "RS256", "ES256", "EdDSA"}, Help: "what is accepted; empty: what there are keys for"},
		{Group: group, Name: "jwt.issuer", Into: &j.issuer, Help: "what the claim iss must be"},
		{Group: group, Name: "jwt.audience", Into: &j.audience, Help: "of what one must be in the claim aud"},
		{Group: group, Name: "jwt.leeway", Into: &j.leeway, Default: "30s", Max: int64(10 * time.Minute), Help: "how far the clocks may be apart"},
		{Group: group, Name: "jwt.warning", Into: &j.warning, Default: "1m", Min: 1, Max: int64(24 * time.Hour), Help: "how long before the end of a token its client is told"},
		{Group: group, Name: "jwt.without-expiry", Into: &j.withoutExpiry, Help: "accept tokens that never end"},
		{Group: group, Name: "jwt.anonymous", Into: &j.anonymous, Help: "let clients in that have no token"},
		{Group: group, Name: "jwt.query", Into: &j.query, Help: "parameter of the URL that may have the token too; logs of proxies may have it then"},
		{Group: group, Name: "jwt.user-claim", Into: &j.user, Default: "sub", Help: "claim that names the user"},
		{Group: group, Name: "jwt.rooms-claim", Into: &j.rooms, Default: "rooms", Help: "claim with the patterns of the rooms"},
		{Group: group, Name: "jwt.name-claim", Into: &j.nameClaim, Default: "name", Help: "claim with the name to show"},
	}
}

func roomKeys(o *options) []settings.Key {
	const group = "Rooms"
	r := &o.rooms
	who := []string{"", string(relay.Anybody), string(relay.Users), string(relay.Claimed), string(relay.Nobody)}
	return []settings.Key{
		{Group: group, Name: "rooms.rules", Into: &r.rules, Help: "who may join and publish in which rooms", Check: o.checkRooms},
		{Group: group, Name: "rooms.default", Into: &r.fallback, Choices: who, Help: "who may where no rule says it; empty: any in open mode, else claim"},
		{Group: group, Name: "rooms.everyone", Into: &r.everyone, Choices: append(who[:3:3], who[4]), Help: "who may send message and msg to all; empty: any in open mode, else none"},
	}
}

func (o *options) checkRooms() error {
	if err := o.roomRules().Check(!o.identified()); err != nil {
		return errors.New(strings.ReplaceAll(oneLine(err), "relay: ", ""))
	}
	return nil
}

func (o *options) roomRules() relay.Rules {
	return relay.Rules{List: o.rooms.rules.list, Default: relay.Who(o.rooms.fallback), Everyone: relay.Who(o.rooms.everyone)}
}

// given tells whether tokens are asked for.
func (j *jwtOptions) given() bool { return j.secret != "" || j.keys != "" || j.keysURL != "" }

// identified tells whether clients are asked who they are.
func (o *options) identified() bool { return o.jwt.given() || len(o.session.secrets) > 0 }

// authenticator is nil where no tokens are asked for.
func (j *jwtOptions) authenticator(log *slog.Logger) (identity.Authenticator, error) {
	if !j.given() {
		return nil, nil
	}
	leeway := j.leeway
	if leeway == 0 {
		leeway = -1
	}
	a, err := identity.NewJWT(identity.JWTConfig{
		Secret: []byte(j.secret), KeyFile: j.keys, KeyURL: j.keysURL, Algorithms: j.algorithms,
		Issuer: j.issuer, Audience: j.audience, Leeway: leeway, WithoutExpiry: j.withoutExpiry, Anonymous: j.anonymous,
		Query: j.query, UserClaim: j.user, RoomsClaim: j.rooms, NameClaim: j.nameClaim, Logger: log,
	})
	if err != nil {
		return nil, usageError{errors.New("jwt: " + strings.ReplaceAll(oneLine(err), "identity: ", ""))}
	}
	return a, nil
}
