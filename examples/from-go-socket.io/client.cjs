// node client.cjs <package> <url>: joins a room, says something there, asks how many are in it, prints what it got.
const [, , name, url] = process.argv;
const io = require(name);

const socket = io(url, { reconnection: false });
const fail = (e) => { console.error(e?.message ?? e); process.exit(1); };
socket.on("connect_error", fail);
socket.on("said", (text) => {
  console.log("said", text);
  const admin = socket.io.socket("/admin");
  admin.on("connect_error", fail);
  admin.on("connect", () => admin.emit("count", "lobby", (n) => {
    console.log("count", n);
    socket.close();
    admin.close();
  }));
});
socket.on("connect", () => socket.emit("join", "lobby", (reply) => {
  console.log(reply);
  socket.emit("say", "hello");
}));
