// A Node server with the official Redis adapter and the server's half of the official admin page.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { serve } from "./lines.mjs";

const { instrument, RedisStore } = createRequire(import.meta.url)("@socket.io/admin-ui");

// ofVersion3 makes a client of Redis look as the store expects it.
const ofVersion3 = (client) => ({
  exists(key, done) { client.exists(key).then((n) => done(null, n), done); },
  multi() {
    const multi = client.multi();
    return {
      set(key, value) { multi.set(key, String(value)); return this; },
      expire(key, seconds) { multi.expire(key, seconds); return this; },
      exec() { return multi.exec(); },
    };
  },
});

serve({
  async start({ redis, password, serverId }) {
    const pub = await createClient({ url: redis }).connect();
    const sub = await createClient({ url: redis }).connect();
    const store = new RedisStore(ofVersion3(pub));
    const http = createServer();
    const io = new Server(http, { adapter: createAdapter(pub, sub) });
    io.on("connection", (socket) => {
      socket.data.user = socket.handshake.auth.user;
      socket.on("hello", (...args) => socket.emit("hello to you", ...args));
    });
    instrument(io, {
      auth: { type: "basic", username: "admin", password }, serverId, store, mode: "development",
    });
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${http.address().port}`;
  },
});
