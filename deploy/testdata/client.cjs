// node client.cjs <url>: two clients that say what they hear.
const { io } = require("socket.io-client");

const url = process.argv[2];
let connected = 0;
for (const [name, transports] of [["polling", ["polling"]], ["default", undefined]]) {
  const socket = io(url, { transports, reconnectionDelay: 100, reconnectionDelayMax: 1000 });
  socket.on("message", (text) => console.log(name, "heard", text));
  socket.once("connect", () => ++connected === 2 && console.log("both are connected to", url));
}
