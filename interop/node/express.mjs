// An Express application with express-session and connect-redis, driven by commands (see lines.mjs). Options of "start":
// url (of Redis), store (9, 7 or 6: the generation of connect-redis), prefix, ttl, session (of express-session), tell (whether a
// logout tells the servers of sockets at once).
import { createHash } from "node:crypto";
import express from "express";
import session from "express-session";
import { Emitter } from "@socket.io/redis-emitter";
import { RedisStore as Store9 } from "connect-redis";
import Store7 from "connect-redis-v7";
import store6 from "connect-redis-v6";
import { createClient as client5 } from "redis-v5";
import { createClient as client4 } from "redis";
import { serve } from "./lines.mjs";

async function makeStore({ url, store = 9, prefix, ttl }) {
  const options = {};
  if (prefix) options.prefix = prefix;
  if (ttl) options.ttl = ttl;
  const make = store === 9 ? client5 : client4;
  const client = make(store === 6 ? { url, legacyMode: true } : { url });
  await client.connect();
  if (store === 9) return new Store9({ client, ...options });
  if (store === 7) return new Store7({ client, ...options });
  return new (store6(session))({ client, ...options });
}

serve({
  async start(o) {
    const app = express();
    app.use(session({ store: await makeStore(o), resave: false, saveUninitialized: false, ...o.session }));
    app.use(express.json());
    app.get("/read", (req, res) => res.json({ id: req.sessionID, session: { ...req.session, cookie: undefined } }));
    app.post("/write", (req, res) => {
      Object.assign(req.session, req.body);
      res.json({ id: req.sessionID });
    });
    app.post("/login", (req, res, next) =>
      req.session.regenerate((err) => {
        if (err) return next(err);
        req.session.passport = { user: req.body.user };
        if (req.body.maxAge) req.session.cookie.maxAge = req.body.maxAge;
        res.json({ id: req.sessionID });
      }),
    );
    const emitter = o.tell && new Emitter(await client4({ url: o.url }).connect());
    app.post("/logout", (req, res, next) => {
      const hash = createHash("sha256").update(req.sessionID).digest("base64url");
      req.session.destroy((err) => {
        if (err) return next(err);
        emitter?.in("sockeye-session:" + hash).disconnectSockets(true);
        res.json({});
      });
    });
    const http = app.listen(0, "127.0.0.1");
    await new Promise((resolve) => http.once("listening", resolve));
    return { port: http.address().port };
  },
});
