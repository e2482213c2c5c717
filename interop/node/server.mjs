// A Node server with the official Redis adapter.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { createClient } from "redis";
import { Log, serve } from "./lines.mjs";

let io;
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
    socket.data = { user: socket.handshake.auth?.user ?? "" };
    socket.on("join", (rooms, ack) => { socket.join(rooms); ack(); });
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

serve({
  async start({ redis, adapter, options, namespaces }) {
    const { createAdapter } = await import(adapter);
    const pub = createClient({ url: redis });
    const sub = pub.duplicate();
    await Promise.all([pub.connect(), sub.connect()]);
    const http = createServer();
    io = new Server(http, { adapter: createAdapter(pub, sub, options) });
    setUp(io.of("/"));
    for (const n of namespaces ?? []) setUp(io.of(n));
    setUp(io.of(/^\/dynamic-\w+$/));
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${http.address().port}`;
  },
  async servers({ nsp }) { return io.of(nsp).adapter.serverCount(); },
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
