// A Node server with one of the official Redis adapters.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { createClient } from "redis";
import { Log, serve } from "./lines.mjs";

let io;
let redisClient;
const log = new Log();

const describe = (s) => ({
  id: s.id, rooms: [...s.rooms], data: s.data,
  handshake: { address: s.handshake.address, query: s.handshake.query, auth: s.handshake.auth },
});

function select({ nsp, rooms, except, local, volatile, timeout }) {
  let b = io.of(nsp).to(rooms ?? []).except(except ?? []);
  if (local) b = b.local;
  if (volatile) b = b.volatile;
  if (timeout) b = b.timeout(timeout);
  return b;
}

function setUp(nsp) {
  nsp.on("connection", (socket) => {
    if (!socket.recovered) socket.data = { user: socket.handshake.auth?.user ?? "" };
    socket.on("join", (rooms, ack) => { socket.join(rooms); ack(); });
    socket.on("remember", (data, ack) => { socket.data = data; ack(); });
    socket.on("disconnect", (reason) => log.add("disconnect", { id: socket.id, reason }));
  });
}

function listen(nsp, event, answers) {
  io.of(nsp).on(event, (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    log.add("server:" + event, args);
    if (answers) ack?.(answers);
  });
}

// connect gives a client of Redis. A fault is the adapter's business; without a listener it would end the process.
async function connect(url) {
  const client = createClient({ url });
  client.on("error", (e) => log.add("redis", e.message));
  client.setMaxListeners(0); // each namespace adds one
  return client.connect();
}

const adapters = {
  classic: async ({ createAdapter }, url, options) => createAdapter(redisClient, await connect(url), options),
  sharded: async ({ createShardedAdapter }, url, options) => createShardedAdapter(redisClient, await connect(url), options),
  streams: async ({ createAdapter }, url, options) => createAdapter(redisClient, options),
};

serve({
  // recovery has the options of connectionStateRecovery, if there is any.
  async start({ redis, kind, adapter, options, namespaces, recovery }) {
    redisClient = await connect(redis);
    const http = createServer();
    io = new Server(http, {
      adapter: await adapters[kind](await import(adapter), redis, options),
      allowEIO3: true,
      ...(recovery ? { connectionStateRecovery: recovery } : {}),
    });
    setUp(io.of("/"));
    for (const n of namespaces ?? []) setUp(io.of(n));
    setUp(io.of(/^\/dynamic-\w+$/));
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${http.address().port}`;
  },
  async servers({ nsp }) { return io.of(nsp).adapter.serverCount(); },
  async redis({ command }) { return redisClient.sendCommand(command); },
  async emit(o) { select(o).emit(o.event, ...o.args); },
  async call(o) {
    return new Promise((resolve) => {
      select(o).emit(o.event, ...o.args, (err, replies) => resolve({ timedOut: Boolean(err), replies: replies ?? [] }));
    });
  },
  async fetch(o) { return (await select(o).fetchSockets()).map(describe); },
  async join(o) { select(o).socketsJoin(o.join); },
  async leave(o) { select(o).socketsLeave(o.leave); },
  async disconnect(o) { select(o).disconnectSockets(o.close); },
  async listen({ nsp, event, answer }) { listen(nsp, event, answer); },
  async serverSide({ nsp, event, args }) { io.of(nsp).serverSideEmit(event, ...args); },
  async serverSideCall({ nsp, event, args }) {
    return new Promise((resolve) => {
      io.of(nsp).serverSideEmit(event, ...args, (err, replies) => resolve({ timedOut: Boolean(err), replies: replies ?? [] }));
    });
  },
  async wait({ kind, count }) { return log.wait(kind, count); },
  async log() { return log.entries; },
});
