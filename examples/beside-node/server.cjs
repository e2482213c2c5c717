// The Node half: node server.cjs [classic|sharded|streams]. PORT and REDIS say where.
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createClient } = require("redis");

const mode = process.argv[2] ?? "classic";
const url = process.env.REDIS ?? "redis://127.0.0.1:6379";

// connect gives a client of Redis. Without a listener an error would end the process.
const connect = () => createClient({ url }).on("error", (e) => console.error(e.message)).connect();

async function adapter() {
  const redis = await connect();
  switch (mode) {
    case "classic":
      return require("@socket.io/redis-adapter").createAdapter(redis, await connect());
    case "sharded":
      return require("@socket.io/redis-adapter").createShardedAdapter(redis, await connect());
    case "streams":
      return require("@socket.io/redis-streams-adapter").createAdapter(redis);
    default:
      throw new Error(`mode ${mode} is none of classic, sharded, streams`);
  }
}

async function main() {
  const http = createServer();
  const io = new Server(http, { adapter: await adapter() });
  io.on("connection", (socket) => {
    socket.on("join", (room, done) => { socket.join(room); done("node"); });
    socket.on("say", (room, text) => io.to(room).emit("said", { by: "node", text }));
    socket.on("who", async (room, done) => done((await io.in(room).fetchSockets()).length));
    socket.on("ask", async (room, done) => done((await io.to(room).timeout(5000).emitWithAck("question")).sort()));
  });
  http.listen(process.env.PORT ?? 3001, "127.0.0.1", () =>
    console.log(`Node is at http://127.0.0.1:${http.address().port}, mode ${mode}`));
}

main().catch((e) => { console.error(e.message); process.exit(1); });
