package main

import (
	"net/http/httptest"
	"os/exec"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestEmitter(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	bin := harness.Build(t, ".", harness.Replacement{Old: "127.0.0.1:6379", New: redis.Addr})
	driver, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	io, err := sockeye.New(sockeye.Config{Adapter: redisadapter.PubSub(driver, redisadapter.PubSubOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(io)
	t.Cleanup(func() {
		if err := io.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	c := harness.Connect(t, web.URL)
	out, err := exec.CommandContext(t.Context(), bin, "hello", "there").CombinedOutput()
	if err != nil || string(out) != "sent to 1 clients\n" {
		t.Errorf("%v\n%s", err, out)
	}
	c.Want("chat", `["hello there"]`)
}
