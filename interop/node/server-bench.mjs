// Servers of Socket.IO 4 and 2 that do what the help of "sockeye bench" asks of a server.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";
import { serve } from "./lines.mjs";

const ServerV2 = createRequire(import.meta.url)("socket.io-v2");

serve({
  async start({ generation }) {
    const http = createServer();
    const io = generation === 2 ? new ServerV2(http) : new Server(http);
    io.on("connection", (socket) => {
      socket.on("echo", (text, ack) => ack(text));
      socket.on("message", (text) => socket.broadcast.emit("message", text));
      socket.on("join", (room, ack) => { socket.join(room); ack({ ok: true }); });
      socket.on("publish", ({ room, event, data }) => socket.to(room).emit(event, data));
    });
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${http.address().port}`;
  },
});
