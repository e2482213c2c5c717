// Commands and answers as lines of JSON on stdin and stdout: {"id":1,"do":"name",...} is answered with
// {"id":1,"value":...} or {"id":1,"error":"text"}. Binary is {"$bin":"base64"}, undefined {"$undef":true}.
import { createInterface } from "node:readline";

export function pack(v) {
  if (v === undefined) return { $undef: true };
  if (v === null || typeof v !== "object") return v;
  if (v instanceof ArrayBuffer) return { $bin: Buffer.from(v).toString("base64") };
  if (ArrayBuffer.isView(v)) return { $bin: Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString("base64") };
  if (v instanceof Set) return pack([...v]);
  if (v instanceof Map) return pack(Object.fromEntries(v));
  if (Array.isArray(v)) return v.map(pack);
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, pack(x)]));
}

export function unpack(v) {
  if (v === null || typeof v !== "object") return v;
  if (typeof v.$bin === "string") return Buffer.from(v.$bin, "base64");
  if (v.$undef) return undefined;
  if (Array.isArray(v)) return v.map(unpack);
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, unpack(x)]));
}

export function serve(commands) {
  const answer = (o) => process.stdout.write(JSON.stringify(o) + "\n");
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    const { id, do: name, ...args } = JSON.parse(line);
    try {
      const value = await commands[name](unpack(args));
      answer({ id, value: value === undefined ? null : pack(value) });
    } catch (e) {
      answer({ id, error: String(e?.stack ?? e) });
    }
  });
  // The parent has closed stdin: it is gone or wants us to go.
  lines.on("close", () => process.exit(0));
}

// Log of what happened, with waiting for it.
export class Log {
  entries = [];
  waiting = [];

  add(kind, value) {
    this.entries.push({ kind, value });
    this.waiting = this.waiting.filter((w) => !w());
  }

  all(kind) {
    return this.entries.filter((e) => e.kind === kind).map((e) => e.value);
  }

  // wait answers with the first count values of a kind when there are so many.
  wait(kind, count) {
    return new Promise((resolve) => {
      const check = () => {
        const found = this.all(kind);
        if (found.length < count) return false;
        resolve(found.slice(0, count));
        return true;
      };
      if (!check()) this.waiting.push(check);
    });
  }
}
