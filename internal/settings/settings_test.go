package settings_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/settings"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// rules are a setting with a structure.
type rules struct {
	List []struct {
		Room  string `yaml:"room"`
		Token string `yaml:"token"`
	}
}

func (r *rules) UnmarshalSetting(n *settings.Node) error { return n.Strict(&r.List) }

func (r *rules) Show() any {
	var all []any
	for _, rule := range r.List {
		all = append(all, map[string]any{"room": rule.Room, "token": "******"})
	}
	return all
}

// values are one program's settings.
type values struct {
	Addr    string
	Open    bool
	Conns   int
	Ratio   float64
	Wait    time.Duration
	Payload settings.Size
	Origins []string
	Format  string
	Redis   string
	Key     string
	Rules   rules
}

func table(v *values) []settings.Key {
	return []settings.Key{
		{
			Group: "Listening", Name: "addr", Into: &v.Addr, Default: "127.0.0.1:3000", Help: "address to listen on",
			Variables: []string{"PORT"},
			Derive: func(get func(string) string) (string, string, error) {
				switch port := get("PORT"); port {
				case "":
					return "", "", nil
				case "x":
					return "", "", errors.New("PORT: \"x\" is not a port")
				default:
					return "127.0.0.1:" + port, "PORT", nil
				}
			},
		},
		{Group: "Listening", Name: "open", Into: &v.Open, Help: "let everybody in"},
		{Group: "Limits", Name: "limits.conns", Into: &v.Conns, Default: "100", Min: 1, Max: 1000, Unit: "connections", Help: "how many"},
		{Group: "Limits", Name: "limits.ratio", Into: &v.Ratio, Default: "0.5", Help: "a share"},
		{Group: "Limits", Name: "limits.wait", Into: &v.Wait, Default: "10s", Min: int64(time.Second), Help: "how long"},
		{Group: "Limits", Name: "limits.payload", Into: &v.Payload, Default: "1MB", Max: 1 << 30, Help: "how large"},
		{
			Group: "Other", Name: "origins", Flag: "origin", Into: &v.Origins, Help: "who may come",
			Check: func() error {
				for _, o := range v.Origins {
					if !strings.Contains(o, "://") {
						return errors.New("no scheme")
					}
				}
				return nil
			},
		},
		{Group: "Other", Name: "log.format", Into: &v.Format, Default: "text", Choices: []string{"text", "json"}, Help: "form of the log"},
		{Group: "Other", Name: "redis.url", Flag: "redis", Into: &v.Redis, URL: true, Help: "the Redis"},
		{Group: "Other", Name: "jwt.key", Into: &v.Key, Secret: true, Help: "the key"},
		{Group: "Other", Name: "rules", Into: &v.Rules, Help: "rules"},
	}
}

// load reads args, "NAME=value" and the content of a file. FILE in args is the name of a file with a secret.
func load(t *testing.T, args, environ []string, file string) (*values, *settings.Set, error) {
	t.Helper()
	v := &values{}
	s, err := settings.New("APP_", table(v))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("of a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(dir, "app.yaml")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(file, "SECRET", secret)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := flag.NewFlagSet("app", flag.ContinueOnError)
	for _, f := range s.Flags() {
		fs.Var(f.Value, f.Name, f.Usage)
	}
	in := func(texts []string) (out []string) {
		for _, text := range texts {
			out = append(out, strings.ReplaceAll(text, "SECRET", secret))
		}
		return out
	}
	if err := fs.Parse(in(args)); err != nil {
		t.Fatal(err)
	}
	err = s.Load(in(environ), path)
	if err != nil {
		text := strings.ReplaceAll(err.Error(), secret, "SECRET")
		if path != "" {
			text = strings.ReplaceAll(text, path, "app.yaml")
		}
		err = errors.New(text)
	}
	return v, s, err
}

func TestSet_Precedence(t *testing.T) {
	t.Parallel()
	file := "addr: :1\norigins: [https://file]\nlimits:\n  conns: 1\n  wait: 1m\nlog: {format: json}\njwt:\n  key: of the file\n"
	for name, test := range map[string]struct {
		args, environ []string
		file          string
		want          func(v *values) bool
		from          [2]string // a key and its source
	}{
		"default":               {nil, nil, "", func(v *values) bool { return v.Addr == "127.0.0.1:3000" && v.Payload == 1_000_000 }, [2]string{"addr", "default"}},
		"empty file":            {nil, nil, "# nothing\n", func(v *values) bool { return v.Conns == 100 }, [2]string{"addr", "default"}},
		"file":                  {nil, nil, file, func(v *values) bool { return v.Addr == ":1" && v.Wait == time.Minute && v.Format == "json" }, [2]string{"limits.wait", ":5: limits.wait"}},
		"variable over file":    {nil, []string{"APP_ADDR=:2", "APP_LIMITS_CONNS=2"}, file, func(v *values) bool { return v.Addr == ":2" && v.Conns == 2 }, [2]string{"addr", "APP_ADDR"}},
		"other variable":        {nil, []string{"PORT=7"}, file, func(v *values) bool { return v.Addr == "127.0.0.1:7" }, [2]string{"addr", "PORT"}},
		"variable over other":   {nil, []string{"PORT=7", "APP_ADDR=:2"}, file, func(v *values) bool { return v.Addr == ":2" }, [2]string{"addr", "APP_ADDR"}},
		"flag over all":         {[]string{"--addr", ":3"}, []string{"PORT=7", "APP_ADDR=:2"}, file, func(v *values) bool { return v.Addr == ":3" }, [2]string{"addr", "--addr"}},
		"empty variable":        {nil, []string{"APP_ADDR="}, file, func(v *values) bool { return v.Addr == ":1" }, [2]string{"addr", ":1: addr"}},
		"flag without value":    {[]string{"--open"}, nil, "open: false", func(v *values) bool { return v.Open }, [2]string{"open", "--open"}},
		"flag that says no":     {[]string{"--open=false"}, nil, "open: true", func(v *values) bool { return !v.Open }, [2]string{"open", "--open"}},
		"list of flags":         {[]string{"--origin", "a://b", "--origin", "c://d,e://f"}, nil, file, func(v *values) bool { return strings.Join(v.Origins, " ") == "a://b c://d e://f" }, [2]string{"origins", "--origin"}},
		"list of a variable":    {nil, []string{"APP_ORIGIN=a://b, c://d"}, file, func(v *values) bool { return len(v.Origins) == 2 }, [2]string{"origins", "APP_ORIGIN"}},
		"empty list":            {nil, nil, "origins: []", func(v *values) bool { return v.Origins == nil }, [2]string{"origins", ":1: origins"}},
		"list of one":           {nil, nil, "origins: a://b", func(v *values) bool { return len(v.Origins) == 1 }, [2]string{"origins", ":1: origins"}},
		"file of a secret":      {nil, nil, "jwt: {key-file: SECRET}", func(v *values) bool { return v.Key == "of a file" }, [2]string{"jwt.key", ":1: jwt.key-file"}},
		"flag for secret file":  {[]string{"--jwt-key-file=SECRET"}, []string{"APP_JWT_KEY=e"}, file, func(v *values) bool { return v.Key == "of a file" }, [2]string{"jwt.key", "--jwt-key-file"}},
		"variable over secret":  {nil, []string{"APP_JWT_KEY=e"}, "jwt: {key-file: SECRET}", func(v *values) bool { return v.Key == "e" }, [2]string{"jwt.key", "APP_JWT_KEY"}},
		"variable with a file":  {nil, []string{"APP_JWT_KEY_FILE=SECRET"}, file, func(v *values) bool { return v.Key == "of a file" }, [2]string{"jwt.key", "APP_JWT_KEY_FILE"}},
		"digits stay text":      {nil, nil, "jwt: {key: 0123}", func(v *values) bool { return v.Key == "0123" }, [2]string{"jwt.key", ":1: jwt.key"}},
		"numbers":               {nil, nil, "limits: {conns: 1000, ratio: 0.25, wait: 1m30s, payload: 64KiB}", func(v *values) bool { return v.Conns == 1000 && v.Ratio == 0.25 && v.Payload == 65536 }, [2]string{"limits.ratio", ":1: limits.ratio"}},
		"structure":             {nil, nil, "rules:\n  - {room: a, token: t}\n", func(v *values) bool { return len(v.Rules.List) == 1 && v.Rules.List[0].Room == "a" }, [2]string{"rules", ":1: rules"}},
		"structure in a flag":   {[]string{`--rules=[{"room":"f"}]`}, nil, "rules:\n  - {room: a}\n", func(v *values) bool { return v.Rules.List[0].Room == "f" }, [2]string{"rules", "--rules"}},
		"service of Kubernetes": {nil, []string{"APP_SERVICE_HOST=10.0.0.1", "APP_SERVICE_PORT=80", "APP_SERVICE_PORT_HTTP=80", "APP_PORT=tcp://10.0.0.1:80", "APP_PORT_80_TCP=tcp://10.0.0.1:80", "APP_PORT_80_TCP_PROTO=tcp"}, "", func(v *values) bool { return v.Conns == 100 }, [2]string{"addr", "default"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, s, err := load(t, test.args, test.environ, test.file)
			if err != nil {
				t.Fatal(err)
			}
			if !test.want(v) {
				t.Errorf("%+v", *v)
			}
			if from := s.From(test.from[0]); !strings.HasSuffix(from, test.from[1]) {
				t.Errorf("%s is from %q, want %q", test.from[0], from, test.from[1])
			}
			if s.IsSet(test.from[0]) != (test.from[1] != "default") {
				t.Errorf("IsSet is %t", s.IsSet(test.from[0]))
			}
		})
	}
}

func TestSet_Faults(t *testing.T) {
	t.Parallel()
	for want, test := range map[string]struct {
		args, environ []string
		file          string
	}{
		`--limits-conns: "many" is not a whole number`:                                        {[]string{"--limits-conns=many"}, nil, ""},
		`--limits-conns: "0x10" is not a whole number`:                                        {[]string{"--limits-conns=0x10"}, nil, ""},
		`--limits-conns: "1001" is not from 1 to 1000`:                                        {[]string{"--limits-conns=1001"}, nil, ""},
		`APP_LIMITS_WAIT: "10" is not a duration, such as 500ms, 10s or 2m`:                   {nil, []string{"APP_LIMITS_WAIT=10"}, ""},
		`APP_LIMITS_WAIT: "10ms" is below 1s`:                                                 {nil, []string{"APP_LIMITS_WAIT=10ms"}, ""},
		`app.yaml:2: limits.payload: "1Mb" is not a size, such as 65536, 64KiB or 1MB`:        {nil, nil, "limits:\n  payload: 1Mb"},
		`app.yaml:1: open: "yes" is neither true nor false`:                                   {nil, nil, "open: yes"},
		`app.yaml:1: log.format: "xml" is none of text, json`:                                 {nil, nil, "log: {format: xml}"},
		`--origin: no scheme`:                                                                 {[]string{"--origin=x"}, nil, ""},
		`app.yaml:1: limits.ratio: "half" is not a number`:                                    {nil, nil, "limits: {ratio: half}"},
		`app.yaml:2: limits.con: there is no such setting; is it limits.conns?`:               {nil, nil, "limits:\n  con: 1"},
		`app.yaml:1: adr: there is no such setting; is it addr?`:                              {nil, nil, "adr: x"},
		`app.yaml:1: something else: there is no such setting`:                                {nil, nil, "something else: x"},
		`APP_FOO: there is no such setting`:                                                   {nil, []string{"APP_FOO=1"}, ""},
		`APP_LIMIT_CONNS: there is no such setting; is it APP_LIMITS_CONNS?`:                  {nil, []string{"APP_LIMIT_CONNS=1"}, ""},
		`PORT: "x" is not a port`:                                                             {nil, []string{"PORT=x"}, ""},
		`app.yaml:2: addr is there twice`:                                                     {nil, nil, "addr: a\naddr: b"},
		`app.yaml:1: anchors and aliases are not allowed`:                                     {nil, nil, "addr: &a b\nredis: {url: *a}"},
		`app.yaml:1: addr: it has no value`:                                                   {nil, nil, "addr:"},
		`app.yaml:1: addr: it must be one value`:                                              {nil, nil, "addr: [a]"},
		`app.yaml:1: origins: it must be a list`:                                              {nil, nil, "origins: {a: b}"},
		`app.yaml:1: origins: its elements must be plain text`:                                {nil, nil, "origins: [[a]]"},
		`app.yaml:1: limits has settings of its own below it`:                                 {nil, nil, "limits: 3"},
		`app.yaml:1: settings are lines such as addr: 127.0.0.1:3000`:                         {nil, nil, "- a"},
		`app.yaml: there is more than one document in it`:                                     {nil, nil, "addr: a\n---\naddr: b"},
		`app.yaml:1: did not find expected ',' or ']'`:                                        {nil, nil, "addr: [a"},
		`app.yaml:2: rules: there is no key rom`:                                              {nil, nil, "addr: a\nrules: [{rom: a}]"},
		`--rules: there is no key rom`:                                                        {[]string{"--rules=[{rom: a}]"}, nil, ""},
		`APP_JWT_KEY and APP_JWT_KEY_FILE are both given: one is enough`:                      {nil, []string{"APP_JWT_KEY=a", "APP_JWT_KEY_FILE=SECRET"}, ""},
		`--jwt-key-file: stat SECRET.not: no such file or directory`:                          {[]string{"--jwt-key-file=SECRET.not"}, nil, ""},
		`app.yaml:1: jwt.key: it is masked, as --print-config shows it: put the secret there`: {nil, nil, `jwt: {key: "******"}`},
		// What is weaker is checked too.
		`app.yaml:1: limits.conns: "x" is not a whole number`: {[]string{"--limits-conns=1"}, nil, "limits: {conns: x}"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			if _, _, err := load(t, test.args, test.environ, test.file); err == nil || err.Error() != want {
				t.Errorf("says %v", err)
			}
		})
	}
}

func TestSet_Print(t *testing.T) {
	t.Parallel()
	_, s, err := load(t, []string{"--redis=redis://me:hidden@h:1/0?sentinel_password=hidden&db=3"}, []string{"PORT=7", "APP_ORIGIN=a://b"},
		"jwt:\n  key: hidden\nrules:\n  - {room: a, token: hidden}\n")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := s.Print(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if strings.Contains(got, "hidden") {
		t.Errorf("it has a secret in it:\n%s", got)
	}
	for _, want := range []string{
		"addr: 127.0.0.1:7 # PORT\n", "limits:\n  conns: 100 # default\n", "  wait: 10s # default\n", "  payload: 1000000 # default\n",
		"redis:\n  url: redis://me:******@h:1/0?sentinel_password=******&db=3 # --redis\n",
		"  key: '******' # ", "    token: '******'\n", "- a://b",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// Without secrets it can be read again.
	v, s, err := load(t, nil, nil, "addr: :1\norigins: [a://b]\nlimits: {wait: 1m30s}")
	if err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if err := s.Print(&b); err != nil {
		t.Fatal(err)
	}
	again, _, err := load(t, nil, nil, b.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if again.Addr != v.Addr || again.Wait != v.Wait || len(again.Origins) != 1 || again.Payload != v.Payload {
		t.Errorf("%+v became %+v", *v, *again)
	}
}

func TestMaskURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://h:1":                              "redis://h:1",
		"redis://:p@h":                             "redis://:******@h",
		"redis://u:p@ss@h:1,i:2/m?db=1":            "redis://u:******@h:1,i:2/m?db=1",
		"unix:///run/r.sock?db=1":                  "unix:///run/r.sock?db=1",
		"redis+sentinel://h/m?sentinel_password=p": "redis+sentinel://h/m?sentinel_password=******",
		"p": "******",
	} {
		if got := settings.MaskURL(url); got != want {
			t.Errorf("%s is shown as %s", url, got)
		}
	}
}

func TestSet_Table(t *testing.T) {
	t.Parallel()
	s, err := settings.New("APP_", table(&values{}))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Table()
	for _, want := range []string{
		"### Listening\n\n| Key |", "| `addr` | `--addr` | `APP_ADDR`, `PORT` | `127.0.0.1:3000` | address to listen on |\n",
		"| `limits.conns` | `--limits-conns` | `APP_LIMITS_CONNS` | `100` | how many (connections) |\n",
		"| `jwt.key` | `--jwt-key` | `APP_JWT_KEY` |  | the key; secret, see `jwt.key-file` |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestNew_Faults(t *testing.T) {
	t.Parallel()
	var n int
	var text string
	for name, keys := range map[string][]settings.Key{
		"twice":   {{Name: "a", Into: &n}, {Name: "a", Into: &n}},
		"flag":    {{Name: "a.b", Into: &n}, {Name: "a-b", Into: &n}},
		"default": {{Name: "a", Into: &n, Default: "x"}},
		"choice":  {{Name: "a", Into: &text, Default: "x", Choices: []string{"y"}}},
		"type":    {{Name: "a", Into: n, Default: "x"}},
	} {
		if _, err := settings.New("APP_", keys); err == nil {
			t.Errorf("%s: no fault", name)
		}
	}
}

// FuzzSet_Load: no file makes it crash, or show a secret in what it says.
func FuzzSet_Load(f *testing.F) {
	for _, seed := range []string{
		"addr: :1\nlimits:\n  conns: 1\n", "rules: [{room: a}]", "a: &a [*a]", "origins: [a, b]", "limits: {wait: 1m}", "jwt: {key: k}", "<<: {addr: x}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		if file == "" {
			return
		}
		_, s, err := load(t, nil, nil, strings.ReplaceAll(file, "SECRET", ""))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			return
		}
		if err := s.Print(new(strings.Builder)); err != nil {
			t.Error(err)
		}
	})
}
