package redisproto

import "testing"

func TestRefusals(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]struct{ passing, redirected bool }{
		"NOREPLICAS Not enough good replicas to write.":                   {passing: true},
		"LOADING Redis is loading the dataset in memory":                  {passing: true},
		"READONLY You can't write against a read only replica.":           {passing: true},
		"MASTERDOWN Link with MASTER is down":                             {passing: true},
		"CLUSTERDOWN Hash slot not served":                                {passing: true},
		"ERR CLUSTERDOWN Hash slot not served":                            {passing: true},
		"TRYAGAIN Multiple keys request during rehashing of slot":         {passing: true},
		"OOM command not allowed when used memory > 'maxmemory'.":         {passing: true},
		"MISCONF Redis is configured to save RDB snapshots":               {passing: true},
		"BUSY Redis is busy running a script.":                            {passing: true},
		"BUSYGROUP Consumer Group name already exists":                    {},
		"MOVED 866 127.0.0.1:7000":                                        {redirected: true},
		"ASK 866 127.0.0.1:7000":                                          {redirected: true},
		"ASKING":                                                          {},
		"NOPERM No permissions to access a channel":                       {},
		"WRONGTYPE Operation against a key holding the wrong kind of key": {},
		"ERR unknown command":                                             {},
		"":                                                                {},
	} {
		if Passing(reply) != want.passing || Redirected(reply) != want.redirected {
			t.Errorf("%q: passing %t, redirected %t", reply, Passing(reply), Redirected(reply))
		}
	}
}
