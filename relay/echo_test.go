package relay

import "testing"

func TestServer_Echo(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, _ := connect(t, url)
	b, _ := connect(t, url)
	a.want(`["echo","x",{"n":[1.5,null]}]`, `["x",{"n":[1.5,null]}]`)
	a.want(`["echo"]`, `[]`)
	a.send(`2["echo","nobody asks"]`)
	a.nothing()
	b.nothing()
}
