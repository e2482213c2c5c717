// The official server under the load of the benchmarks; see bench/server for the protocol.
// HOST, PORT, REDIS=host:port and ADAPTER=classic|sharded|streams by environment. Run with NODE_PATH=interop/node/node_modules.
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

async function cluster(redis, kind = "classic") {
  if (!redis) return {};
  const { createClient } = require("redis");
  const connect = async () => {
    const c = createClient({ url: `redis://${redis}` });
    c.on("error", (err) => console.error(err.message));
    await c.connect();
    return c;
  };
  if (kind === "streams") {
    return { adapter: require("@socket.io/redis-streams-adapter").createAdapter(await connect()) };
  }
  const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
  const create = { classic: createAdapter, sharded: createShardedAdapter }[kind];
  return { adapter: create(await connect(), await connect()) };
}

async function main() {
  const io = new Server(await cluster(process.env.REDIS, process.env.ADAPTER));
  io.on("connection", (socket) => {
    socket.on("echo", (value, ack) => ack(value));
    socket.on("join", (room) => socket.join(room));
    socket.on("pub", (p) => io.to(p.room).emit("msg", p.payload));
  });
  const server = http.createServer();
  io.attach(server);
  server.listen({ host: process.env.HOST || "127.0.0.1", port: Number(process.env.PORT || 3000), backlog: 4096 });
  process.on("SIGUSR2", () => globalThis.gc?.());
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
