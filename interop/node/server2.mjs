// A server of Socket.IO 2 with the Redis adapter of its time.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Log, serve } from "./lines.mjs";

const require = createRequire(import.meta.url);
const Server = require("socket.io-v2");
const createAdapter = require("socket.io-redis-v5");

let io;
const log = new Log();

function select({ nsp, rooms, local, volatile }) {
  let b = io.of(nsp);
  for (const r of rooms ?? []) b = b.to(r);
  if (local) b = b.local;
  return volatile ? b.volatile : b;
}

function setUp(nsp) {
  // What the adapter cannot read. Without a listener the process would end, as its README says.
  nsp.adapter.on("error", (e) => log.add("error", e.message));
  nsp.on("connection", (socket) => {
    socket.on("join", (rooms, ack) => socket.join(rooms, () => ack()));
    socket.on("tell others", (...args) => socket.broadcast.emit("told", ...args));
  });
}

serve({
  async start({ redis, namespaces }) {
    const http = createServer();
    io = new Server(http, { adapter: createAdapter(redis) });
    setUp(io.of("/"));
    for (const n of namespaces) setUp(io.of(n));
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${http.address().port}`;
  },
  async servers({ nsp }) {
    return new Promise((resolve, reject) => {
      io.of(nsp).adapter.pubClient.send_command("pubsub", ["numsub", `socket.io-request#${nsp}#`], (err, found) => {
        if (err) reject(err);
        else resolve(Number(found[1]));
      });
    });
  },
  async emit(o) { select(o).emit(o.event, ...o.args); },
  // ask calls a method of the adapter that takes a callback and gives what comes.
  async ask({ nsp, method, args }) {
    return new Promise((resolve, reject) => {
      io.of(nsp).adapter[method](...args, (err, value) => (err ? reject(err) : resolve(value)));
    });
  },
  async custom({ nsp, answer }) { io.of(nsp).adapter.customHook = (data, done) => done(answer); },
  async log() { return log.entries; },
});
