package presence

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name that Redis gives to a script
	"encoding/hex"
	"errors"
	"strings"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// The keys of a place, all in one slot:
//
//	1 servers  sorted set: until when each server is believed, in ms of Redis' clock
//	2 users    sorted set, all with score 0: who is online, in the order of the ids
//	3 counts   hash: how many servers say so of each user
//	4 mine     set: whom the server says so of
//	5 info     hash: what is known of each user
//
// Each script begins with the time in µs, the version of what it changes, and ends with the users it is about.
const (
	preamble = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local out = {string.format('%d%06d', t[1], t[2])}
local function gone(user)
  if redis.call('SREM', KEYS[4], user) == 1 and redis.call('HINCRBY', KEYS[3], user, -1) <= 0 then
    redis.call('HDEL', KEYS[3], user)
    redis.call('HDEL', KEYS[5], user)
    if redis.call('ZREM', KEYS[2], user) == 1 then out[#out + 1] = user end
  end
end
local function keep(ttl, long)
  for i, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, i == 4 and long or ttl)
  end
end
`

	// server, lease, ttl, long ttl, then users and what is known of them in turn. What a server said before it was
	// taken out counts no more.
	joinScript = preamble + `
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then redis.call('DEL', KEYS[4]) end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
for i = 5, #ARGV, 2 do
  local user = ARGV[i]
  if redis.call('SADD', KEYS[4], user) == 1 then
    if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[5], user, ARGV[i + 1]) end
    redis.call('HINCRBY', KEYS[3], user, 1)
    if redis.call('ZADD', KEYS[2], 0, user) == 1 then out[#out + 1] = user end
  end
end
keep(ARGV[3], ARGV[4])
return out
`

	// server, "1" where the server stays though it has nobody, then users.
	leaveScript = preamble + `
for i = 3, #ARGV do gone(ARGV[i]) end
if ARGV[2] ~= '1' and redis.call('SCARD', KEYS[4]) == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
return out
`

	// server, lease, ttl, long ttl. Says for how many users the server stands, -1 where it was taken out, and which
	// other servers are believed no more.
	refreshScript = preamble + `
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {out[1], '-1'} end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
keep(ARGV[3], ARGV[4])
out[2] = tostring(redis.call('SCARD', KEYS[4]))
for _, server in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', now))) do
  out[#out + 1] = server
end
return out
`

	// The server that is believed no more, whose set is the fourth key. Takes it out, unless it is back.
	sweepScript = preamble + `
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) >= now then return out end
for _, user in ipairs(redis.call('SMEMBERS', KEYS[4])) do gone(user) end
redis.call('DEL', KEYS[4])
redis.call('ZREM', KEYS[1], ARGV[1])
return out
`
)

// script is one that Redis may have already.
type script struct{ text, sum string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
	return script{text, hex.EncodeToString(sum[:])}
}

var (
	joining    = newScript(joinScript)
	leavingSet = newScript(leaveScript)
	refreshing = newScript(refreshScript)
	sweeping   = newScript(sweepScript)
)

var errReply = errors.New("presence: a reply of another form than expected")

// call is one run of a script on the keys of a place.
type call struct {
	keys []string
	args []string
}

func (c *call) command(name, what string) redisadapter.Command {
	args := make([]string, 0, 3+len(c.keys)+len(c.args))
	args = append(args, name, what, "5")
	args = append(args, c.keys...)
	return redisadapter.Command{Key: c.keys[0], Args: append(args, c.args...)}
}

// run runs a script several times in one pipeline, and gives the strings of each reply, nil where there is an error.
func (s script) run(ctx context.Context, redis redisadapter.Commander, calls []call) ([][]string, error) {
	batch := make([]redisadapter.Command, len(calls))
	for i := range calls {
		batch[i] = calls[i].command("EVALSHA", s.sum)
	}
	replies, errs := redis.DoAll(ctx, batch)
	var unknown []int
	for i, err := range errs {
		if err != nil && strings.Contains(err.Error(), "NOSCRIPT") {
			unknown = append(unknown, i)
			batch[i] = calls[i].command("EVAL", s.text)
		}
	}
	if len(unknown) > 0 {
		again := make([]redisadapter.Command, len(unknown))
		for j, i := range unknown {
			again[j] = batch[i]
		}
		more, failed := redis.DoAll(ctx, again)
		for j, i := range unknown {
			errs[i] = nil
			if failed != nil {
				errs[i] = failed[j]
			}
			if errs[i] == nil {
				replies[i] = more[j]
			}
		}
	}
	texts := make([][]string, len(calls))
	var err error
	for i := range calls {
		if errs != nil && errs[i] != nil {
			err = errs[i]
			continue
		}
		if texts[i], err = stringsOf(replies[i], err); len(texts[i]) == 0 {
			texts[i], err = nil, errors.Join(err, errReply)
		}
	}
	return texts, err
}

// stringsOf reads a reply that is a list of strings. err is what it gives where that is so.
func stringsOf(reply any, err error) ([]string, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, errReply
	}
	texts := make([]string, len(list))
	for i := range list {
		if texts[i], ok = list[i].(string); !ok {
			return nil, errReply
		}
	}
	return texts, err
}
