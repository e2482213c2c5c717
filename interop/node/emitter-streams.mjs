// Entries as @socket.io/redis-streams-emitter 0.1.1 writes them. That package is not on npm.
import { encode } from "@msgpack/msgpack";
import { createClient } from "redis";
import { serve } from "./lines.mjs";

let client;
let stream;

const binary = (v) => ArrayBuffer.isView(v) || (v !== null && typeof v === "object" && Object.values(v).some(binary));

// add writes an entry: text, or base64 of MessagePack where there is binary.
function add(nsp, type, data) {
  const text = binary(data) ? Buffer.from(encode(data)).toString("base64") : JSON.stringify(data);
  return client.xAdd(stream, "*", { uid: "emitter", nsp, type: String(type), data: text }, {
    TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 10000 },
  });
}

const opts = ({ rooms, except }) => ({ rooms: rooms ?? [], except: except ?? [], flags: {} });

serve({
  async start({ redis, options }) {
    client = await createClient({ url: redis }).connect();
    stream = options?.streamName ?? "socket.io";
  },
  async emit({ nsp, rooms, except, volatile, event, args }) {
    return add(nsp, 3, {
      packet: { type: 2, data: [event, ...args], nsp },
      opts: { rooms: rooms ?? [], flags: volatile ? { volatile } : {}, except: except ?? [] },
    });
  },
  async join(o) { return add(o.nsp, 4, { opts: opts(o), rooms: o.join }); },
  async leave(o) { return add(o.nsp, 5, { opts: opts(o), rooms: o.leave }); },
  async disconnect(o) { return add(o.nsp, 6, { opts: opts(o), close: o.close }); },
  async serverSide({ nsp, event, args }) { return add(nsp, 9, { packet: [event, ...args] }); },
});
