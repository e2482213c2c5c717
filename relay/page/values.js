// Values of events as text, and text as values.

const LONG = 4000; // characters shown of a value
const BYTES = 32; // bytes shown of binary

function bytesOf(v) {
  if (v instanceof ArrayBuffer) return new Uint8Array(v);
  if (ArrayBuffer.isView(v)) return new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
  return null;
}

export function binary(bytes) {
  const hex = Array.from(bytes.subarray(0, BYTES), (b) => b.toString(16).padStart(2, "0")).join(" ");
  return `<${bytes.length} byte${bytes.length === 1 ? "" : "s"}: ${hex}${bytes.length > BYTES ? " ..." : ""}>`;
}

// print gives arguments as JSON with binary in angle brackets.
export function print(args, indent) {
  const replace = (_, v) => {
    const bytes = bytesOf(v);
    return bytes ? binary(bytes) : v;
  };
  try {
    const all = args.map((a) => JSON.stringify(a, replace, indent) ?? "undefined").join(indent ? ",\n" : ", ");
    return all.length > LONG ? all.slice(0, LONG) + " ..." : all;
  } catch {
    return "(too deep to be shown)"; // JSON of others may be nested as deep as they like
  }
}

function revive(key, v) {
  if (v === null || typeof v !== "object" || typeof v.$hex !== "string" || Object.keys(v).length !== 1) return v;
  const hex = v.$hex.replace(/\s/g, "");
  if (hex.length % 2 || /[^0-9a-f]/i.test(hex)) throw new SyntaxError("$hex wants two digits for each byte.");
  return Uint8Array.from(hex.match(/../g) ?? [], (b) => parseInt(b, 16));
}

// parse gives the arguments that somebody has typed; it throws a SyntaxError.
export function parse(typed) {
  return JSON.parse("[" + typed + "]", revive);
}
