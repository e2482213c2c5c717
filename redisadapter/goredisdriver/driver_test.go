package goredisdriver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(20*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// driverOf makes a driver of a client and closes both with the test.
func driverOf(t testing.TB, client redis.UniversalClient, o Options) *Driver {
	t.Helper()
	d, err := New(client, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDriver_Conformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redis.Options{
		"default": {}, "RESP2": {Protocol: 2}, "impatient": {MaxRetries: 10, ReadTimeout: -1, PoolSize: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Drivers(t, func(t *testing.T, addr string) redisadapter.StreamDriver {
				t.Helper()
				o := o
				o.Addr = addr
				return driverOf(t, redis.NewClient(&o), Options{})
			})
		})
	}
}

// The application's client is as it was when the driver is closed.
func TestDriver_ClientStaysOpen(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	d, err := New(client, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(bounded(t)).Err(); err != nil {
		t.Error(err)
	}
}

// provider is a source of credentials that may change.
type provider struct{}

func (*provider) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	return auth.NewBasicCredentials("sockeye", "secret"), func() error { return nil }, nil
}

func TestDriver_Password(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	if err := admin.Do(bounded(t), "ACL", "SETUSER", "sockeye", "on", ">secret", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	right := driverOf(t, redis.NewClient(&redis.Options{
		Addr: server.Addr, Username: "sockeye", Password: "secret", DB: 3, ClientName: "named",
	}), Options{})
	if err := right.Connect(bounded(t)); err != nil {
		t.Error(err)
	}
	if list := admin.ClientList(bounded(t)).Val(); !strings.Contains(list, "name=named") || !strings.Contains(list, "user=sockeye") {
		t.Errorf("clients:\n%s", list)
	}
	provided := driverOf(t, redis.NewClient(&redis.Options{Addr: server.Addr, StreamingCredentialsProvider: &provider{}}), Options{})
	who := redis.NewStringCmd(bounded(t), "acl", "whoami")
	if err := provided.one(bounded(t), "", who, false); err != nil || who.Val() != "sockeye" {
		t.Errorf("%q, %v", who.Val(), err)
	}
	wrong := driverOf(t, redis.NewClient(&redis.Options{Addr: server.Addr, Username: "sockeye", Password: "hush"}), Options{})
	err := wrong.Connect(bounded(t))
	if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), server.Addr) {
		t.Errorf("error %v", err)
	}
	if _, err := wrong.Subscribe(bounded(t), &redistest.Recorder{}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
}

func TestNew_Errors(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	ok := redis.NewClient(&redis.Options{})
	defer ok.Close()
	for name, c := range map[string][2]redis.UniversalClient{
		"none": {nil}, "nil": {(*redis.Client)(nil)}, "nil cluster": {(*redis.ClusterClient)(nil)}, "ring": {ring},
		"ring to subscribe": {ok, ring},
	} {
		if d, err := New(c[0], Options{Subscriber: c[1]}); !errors.Is(err, ErrClient) || d != nil {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}
