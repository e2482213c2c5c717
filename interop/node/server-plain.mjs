// A server of Socket.IO 4, 3 or 2, without a cluster, for clients of ours.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";
import * as msgpack from "socket.io-msgpack-parser";
import msgpackV2 from "socket.io-msgpack-parser-v2";
import { Server as ServerV3 } from "socket.io-v3";
import { Log, serve } from "./lines.mjs";

const ServerV2 = createRequire(import.meta.url)("socket.io-v2");
const log = new Log();
const lines = [];
let io;

function setUp(nsp) {
  nsp.on("connection", (socket) => {
    socket.on("echo", (...args) => args.pop()(...args));
    socket.on("ask me", (ack) => socket.emit("question", 20, (answer) => ack(answer)));
    socket.on("auth", (ack) => ack(socket.handshake.auth ?? null, socket.handshake.query));
    socket.on("leave", () => socket.disconnect());
    let tries = 0;
    socket.on("third", (ack) => { if (++tries === 3) ack("done"); });
    socket.on("line", (line, ack) => { lines.push(line); ack?.(); });
    socket.on("lines", (ack) => ack(lines));
    socket.on("disconnect", (reason) => log.add("disconnect", reason));
    socket.emit("welcome", Buffer.from([1, 2, 3]), socket.id);
  });
}

serve({
  async start({ generation, packed, recovery }) {
    const http = createServer();
    const options = packed ? { parser: generation === 2 ? msgpackV2 : msgpack } : {};
    if (recovery) options.connectionStateRecovery = {};
    const Kind = { 2: ServerV2, 3: ServerV3, 4: Server }[generation];
    io = new Kind(http, options);
    setUp(io.of("/"));
    setUp(io.of("/chat"));
    const data = packed && generation === 2 ? {} : { data: { code: 7 } }; // that parser takes text only
    io.of("/closed").use((socket, next) => next(Object.assign(new Error("no entry"), data)));
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${http.address().port}`;
  },
  async emit({ event, args }) { io.emit(event, ...args); },
  // cut ends all connections as a network does.
  async cut() { for (const s of io.of("/").sockets.values()) s.conn.close(); },
  async wait({ kind, count }) { return log.wait(kind, count); },
});
