package presence

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/redisadapter"
)

const (
	chunk        = 500 // users of one script
	callsAtATime = 500 // scripts of one pipeline
	longFactor   = 4   // how much longer a server's own set lives than what is summed up
)

// shared is the store in Redis.
type shared struct {
	redis  redisadapter.Commander
	prefix string // up to the room
	server string
	expiry time.Duration
}

func newRedis(c redisadapter.Commander, prefix, namespace string, expiry time.Duration) *shared {
	return &shared{redis: c, prefix: prefix + ":{" + namespace + "|", server: rand.Text(), expiry: expiry}
}

func (s *shared) every() time.Duration { return s.expiry / 4 }

// lease is how long the server is believed: shorter than the expiry, so that the others have time to notice.
func (s *shared) lease() time.Duration { return s.expiry / 2 }

func (s *shared) key(room, kind string) string { return s.prefix + room + "}:" + kind }

// roomsKey is the set of rooms in which a server has somebody.
func (s *shared) roomsKey(server string) string { return s.prefix + "}:rooms:" + server }

func (s *shared) keys(room, server string) []string {
	return []string{
		s.key(room, "servers"), s.key(room, "users"), s.key(room, "counts"), s.key(room, "of:"+server), s.key(room, "info"),
	}
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (s *shared) times() []string {
	return []string{s.server, ms(s.lease()), ms(s.expiry), ms(longFactor * s.expiry)}
}

// join tells the rooms first, so that whoever takes this server out finds them.
func (s *shared) join(ctx context.Context, list []update) ([]verdict, error) {
	rooms := make([]string, len(list))
	for i := range list {
		rooms[i] = list[i].room
	}
	if err := s.note(ctx, rooms); err != nil {
		return nil, err
	}
	return s.change(ctx, joining, list, true, func(_ string, users []User) []string {
		args := s.times()
		for _, u := range users {
			args = append(args, u.ID, string(u.Info))
		}
		return args
	})
}

func (s *shared) leave(ctx context.Context, list []update) ([]verdict, error) {
	return s.change(ctx, leavingSet, list, false, func(room string, users []User) []string {
		stays := "0"
		if room == "" {
			stays = "1"
		}
		args := append(make([]string, 0, 2+len(users)), s.server, stays)
		for _, u := range users {
			args = append(args, u.ID)
		}
		return args
	})
}

// note adds rooms to those of this server. One that it has left stays in the list until that is made anew, which costs
// whoever takes the server out a look.
func (s *shared) note(ctx context.Context, rooms []string) error {
	key := s.roomsKey(s.server)
	args := []string{"SADD", key}
	for _, room := range rooms {
		if room != "" {
			args = append(args, room)
		}
	}
	if len(args) == 2 {
		return nil
	}
	_, errs := s.redis.DoAll(ctx, []redisadapter.Command{
		{Key: key, Args: args}, {Key: key, Args: []string{"PEXPIRE", key, ms(longFactor * s.expiry)}},
	})
	return errors.Join(errs...)
}

// change runs a script that changes places.
func (s *shared) change(
	ctx context.Context, what script, list []update, online bool, args func(room string, users []User) []string,
) ([]verdict, error) {
	var (
		calls []call
		about []update
		all   []verdict
		errs  []error
	)
	for _, u := range list {
		for part := range slices.Chunk(u.users, chunk) {
			calls = append(calls, call{s.keys(u.room, s.server), args(u.room, part)})
			about = append(about, update{u.room, part})
		}
	}
	for len(calls) > 0 {
		n := min(len(calls), callsAtATime)
		texts, err := what.run(ctx, s.redis, calls[:n])
		errs = append(errs, err)
		for i, list := range texts {
			known := map[string]json.RawMessage{}
			for _, u := range about[i].users {
				known[u.ID] = u.Info
			}
			all = append(all, verdicts(list, about[i].room, online, known)...)
		}
		calls, about = calls[n:], about[n:]
	}
	return all, errors.Join(errs...)
}

// verdicts reads what a script has changed.
func verdicts(texts []string, room string, online bool, known map[string]json.RawMessage) []verdict {
	if len(texts) < 2 {
		return nil
	}
	version, err := strconv.ParseInt(texts[0], 10, 64)
	if err != nil {
		return nil
	}
	all := make([]verdict, 0, len(texts)-1)
	for _, id := range texts[1:] {
		all = append(all, verdict{Change{User{id, known[id]}, room, online}, version})
	}
	return all
}

// refresh sees to all places, and takes out servers that have not done so for long.
func (s *shared) refresh(ctx context.Context, l *local, compare bool) ([]verdict, error) {
	stored := l.stored()
	rooms := slices.Collect(maps.Keys(stored))
	if err := s.renote(ctx, rooms, compare); err != nil {
		return nil, err
	}
	var all []verdict
	dead := map[string][]string{}
	for part := range slices.Chunk(rooms, callsAtATime) {
		replies, err := s.renew(ctx, part, s.lease())
		if err != nil {
			return all, err
		}
		for i, room := range part {
			if len(replies[i]) < 2 {
				return all, errReply
			}
			if compare || replies[i][1] != strconv.Itoa(stored[room]) {
				changes, err := s.mend(ctx, room, l.told(room))
				all = append(all, changes...)
				if err != nil {
					return all, err
				}
			}
			for _, server := range replies[i][2:] {
				dead[server] = append(dead[server], room)
			}
		}
	}
	for server, where := range dead {
		changes, err := s.sweep(ctx, server, where)
		all = append(all, changes...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// renote keeps the list of rooms of this server, and makes it anew where it is in doubt.
func (s *shared) renote(ctx context.Context, rooms []string, anew bool) error {
	key := s.roomsKey(s.server)
	if !anew {
		if _, err := s.redis.Do(ctx, key, "PEXPIRE", key, ms(longFactor*s.expiry)); err != nil {
			return fmt.Errorf("refresh: %w", err)
		}
		return nil
	}
	if _, err := s.redis.Do(ctx, key, "DEL", key); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return s.note(ctx, rooms)
}

// renew says that the server is to be believed in rooms for some time more.
func (s *shared) renew(ctx context.Context, rooms []string, lease time.Duration) ([][]string, error) {
	args := s.times()
	args[1] = ms(lease)
	calls := make([]call, len(rooms))
	for i, room := range rooms {
		calls[i] = call{s.keys(room, s.server), args}
	}
	return refreshing.run(ctx, s.redis, calls)
}

// mend has Redis say of this server in a room what it has told.
func (s *shared) mend(ctx context.Context, room string, have map[string]User) ([]verdict, error) {
	// It is made known first, which throws away what it has said before it was taken out.
	if _, err := joining.run(ctx, s.redis, []call{{s.keys(room, s.server), s.times()}}); err != nil {
		return nil, err
	}
	all, err := s.join(ctx, []update{{room, slices.Collect(maps.Values(have))}})
	if err != nil {
		return all, err
	}
	reply, err := s.redis.Do(ctx, s.key(room, "servers"), "SMEMBERS", s.key(room, "of:"+s.server))
	if err != nil {
		return all, fmt.Errorf("compare: %w", err)
	}
	there, err := stringsOf(reply, nil)
	if err != nil {
		return all, err
	}
	surplus := update{room: room}
	for _, id := range there {
		if _, ok := have[id]; !ok {
			surplus.users = append(surplus.users, User{ID: id})
		}
	}
	if len(surplus.users) > 0 {
		gone, err := s.leave(ctx, []update{surplus})
		return append(all, gone...), err
	}
	return all, nil
}

// sweep takes another server out of the rooms in which it was found missing; and where one of these is the namespace, out
// of all rooms.
func (s *shared) sweep(ctx context.Context, server string, rooms []string) ([]verdict, error) {
	whole := slices.Contains(rooms, "")
	if whole {
		reply, err := s.redis.Do(ctx, s.roomsKey(server), "SMEMBERS", s.roomsKey(server))
		if err != nil {
			return nil, fmt.Errorf("rooms of a server: %w", err)
		}
		if rooms, err = stringsOf(reply, nil); err != nil {
			return nil, err
		}
		rooms = append(rooms, "") // last: so that another server goes on where this one ends
	}
	var all []verdict
	for part := range slices.Chunk(rooms, callsAtATime) {
		calls := make([]call, len(part))
		for i, room := range part {
			calls[i] = call{s.keys(room, server), []string{server}}
		}
		replies, err := sweeping.run(ctx, s.redis, calls)
		for i, room := range part {
			all = append(all, verdicts(replies[i], room, false, nil)...)
		}
		if err != nil {
			return all, err
		}
	}
	if whole {
		_, err := s.redis.Do(ctx, s.roomsKey(server), "DEL", s.roomsKey(server))
		return all, err
	}
	return all, nil
}

func (s *shared) retire(ctx context.Context, l *local, grace time.Duration) error {
	rooms := slices.Collect(maps.Keys(l.stored()))
	for part := range slices.Chunk(rooms, callsAtATime) {
		if _, err := s.renew(ctx, part, min(grace, s.lease())); err != nil {
			return err
		}
	}
	return nil
}

func (s *shared) has(ctx context.Context, room, user string) (bool, error) {
	key := s.key(room, "users")
	score, err := s.redis.Do(ctx, key, "ZSCORE", key, user)
	return score != nil, err
}

func (s *shared) count(ctx context.Context, room string) (int, error) {
	key := s.key(room, "users")
	reply, err := s.redis.Do(ctx, key, "ZCARD", key)
	if err != nil {
		return 0, err
	}
	n, ok := reply.(int64)
	if !ok {
		return 0, errReply
	}
	return int(n), nil
}

func (s *shared) users(ctx context.Context, room, after string, n int) ([]User, error) {
	key, info, from := s.key(room, "users"), s.key(room, "info"), "-"
	if after != "" {
		from = "(" + after
	}
	reply, err := s.redis.Do(ctx, key, "ZRANGEBYLEX", key, from, "+", "LIMIT", "0", strconv.Itoa(n))
	if err != nil {
		return nil, err
	}
	ids, err := stringsOf(reply, nil)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	reply, err = s.redis.Do(ctx, info, append([]string{"HMGET", info}, ids...)...)
	if err != nil {
		return nil, err
	}
	known, ok := reply.([]any)
	if !ok || len(known) != len(ids) {
		return nil, errReply
	}
	users := make([]User, len(ids))
	for i, id := range ids {
		users[i] = User{ID: id}
		if text, ok := known[i].(string); ok && json.Valid([]byte(text)) {
			users[i].Info = json.RawMessage(text)
		}
	}
	return users, nil
}
