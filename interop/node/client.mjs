// Drives the official clients of generations 2, 3 and 4.
import { createRequire } from "node:module";
import { Log, serve } from "./lines.mjs";

const require = createRequire(import.meta.url);
const generations = {
  2: () => require("socket.io-client-v2"),
  3: () => require("socket.io-client-v3").io,
  4: () => require("socket.io-client").io,
};
const parsers = {
  2: () => require("socket.io-msgpack-parser-v2"),
  3: () => require("socket.io-msgpack-parser"),
  4: () => require("socket.io-msgpack-parser"),
};

const sockets = new Map(); // name -> {socket, log}

function get(name) {
  const s = sockets.get(name);
  if (!s) throw new Error("no socket " + name);
  return s;
}

// received logs an event and acknowledges it with its own arguments, reversed, where the server wants that.
function received(log, event, args) {
  if (typeof args.at(-1) === "function") {
    const ack = args.pop();
    log.add("event:" + event, args);
    if (event !== "mute") ack(...args.toReversed());
    return;
  }
  log.add("event:" + event, args);
}

function open({ name, generation, url, options, msgpack, over }) {
  const log = new Log();
  let socket;
  if (over) {
    socket = get(over).socket.io.socket(url, options);
  } else {
    const more = msgpack ? { parser: parsers[generation]() } : {};
    socket = generations[generation]()(url, { forceNew: true, reconnection: false, ...options, ...more });
  }
  if (generation === 2) {
    socket.onevent = function (packet) {
      const args = [...(packet.data ?? [])];
      if (packet.id != null) args.push(this.ack(packet.id));
      received(log, args[0], args.slice(1));
    };
    socket.on("error", (e) => log.add("connect_error", { message: e?.message ?? e, data: e }));
  } else {
    socket.onAny((event, ...args) => received(log, event, args));
  }
  socket.on("connect", () => log.add("connect", { id: socket.id, recovered: Boolean(socket.recovered) }));
  socket.on("disconnect", (reason) => log.add("disconnect", reason));
  socket.on("connect_error", (e) => log.add("connect_error", { message: e?.message ?? String(e), data: e?.data }));
  sockets.set(name, { socket, log });
}

serve({
  open,
  async wait({ name, kind, count }) { return get(name).log.wait(kind, count); },
  async log({ name }) { return get(name).log.entries; },
  async clear({ name }) { get(name).log.entries = []; },
  async emit({ name, event, args }) { get(name).socket.emit(event, ...args); },
  async call({ name, event, args }) {
    return new Promise((resolve) => get(name).socket.emit(event, ...args, (...reply) => resolve(reply)));
  },
  // burst sends without waiting, count messages with a number each.
  async burst({ name, event, count }) {
    for (let i = 0; i < count; i++) get(name).socket.emit(event, i);
  },
  async volatile({ name, event, args }) { get(name).socket.volatile.emit(event, ...args); },
  async state({ name }) {
    const { socket } = get(name);
    return {
      id: socket.id ?? "", pid: socket._pid ?? "", connected: socket.connected,
      transport: socket.io.engine?.transport?.name ?? "",
    };
  },
  async disconnect({ name }) { get(name).socket.disconnect(); },
  async connect({ name }) { get(name).socket.connect(); },
  // cut ends the connection below the protocol, as a network does; the client reconnects if it is set to.
  async cut({ name }) { get(name).socket.io.engine.close(); },
  // move connects to another server with what is known of the session, as behind a load balancer.
  async move({ name, url }) {
    const { socket } = get(name);
    socket.io.uri = url;
    socket.connect();
  },
});
