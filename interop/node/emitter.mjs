// The official emitter: a process that is no server.
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { serve } from "./lines.mjs";

let emitter;

function select({ nsp, rooms, except, volatile }) {
  let b = emitter.of(nsp);
  for (const r of rooms ?? []) b = b.to(r);
  if (except?.length) b = b.except(except);
  return volatile ? b.volatile : b;
}

serve({
  async start({ redis }) {
    const client = createClient({ url: redis });
    await client.connect();
    emitter = new Emitter(client);
  },
  async emit(o) { select(o).emit(o.event, ...o.args); },
  async join(o) { select(o).socketsJoin(o.join); },
  async leave(o) { select(o).socketsLeave(o.leave); },
  async disconnect(o) { select(o).disconnectSockets(o.close); },
  async serverSide({ nsp, event, args }) { emitter.of(nsp).serverSideEmit(event, ...args); },
});
