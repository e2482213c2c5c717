// The log of events, and the form that emits one.

import { $, element, show } from "./dom.js";
import { parse, print } from "./values.js";

const KEEP = 300; // entries
const LARGEST = 900_000; // bytes of a file: servers take 1 MB by default
const ACK_WAIT = 10_000; // ms

let socket, offsets = false;

// A server that recovers sessions adds an offset to each event, by which the client says how far it has got.
export function expectOffsets(on) {
  offsets = on;
}

function withoutOffset(args) {
  const last = args.at(-1);
  return offsets && typeof last === "string" && /^[\w-]{9,64}$/.test(last) ? [args.slice(0, -1), last] : [args, ""];
}

// record adds an entry; direction is "in", "out" or "note".
export function record(direction, name, all) {
  const [args, offset] = direction === "in" ? withoutOffset(all) : [all, ""];
  const arrow = { in: "\u2193", out: "\u2191", note: "\u00b7" }[direction];
  const spoken = { in: "received", out: "sent", note: "" }[direction];
  const rtt = element("span", { className: "rtt" });
  const body = element("pre", {}, print(args, 2));
  const summary = element("summary", {},
    element("span", { className: "arrow", ariaHidden: "true" }, arrow), element("span", { className: "hidden" }, spoken),
    element("b", {}, name.slice(0, 256)), element("span", { className: "preview" }, print(args).slice(0, 200)), rtt);
  summary.title = new Date().toLocaleTimeString();
  const details = element("details", {}, summary, body);
  if (offset) details.append(element("p", { className: "hint offset" }, "offset " + offset));
  const li = element("li", { className: direction }, details);
  if (name.startsWith("sockeye:")) li.classList.add("own");
  const list = $("events");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  list.append(li);
  while (list.children.length > KEEP) list.firstChild.remove();
  if (atEnd || direction === "out") list.scrollTop = list.scrollHeight;
  return {
    acked(ms, reply) {
      rtt.textContent = "ack " + milliseconds(ms);
      details.append(element("pre", { className: "reply" }, "ack: " + print(reply, 2)));
    },
    lost() { rtt.textContent = "no ack"; },
  };
}

export function milliseconds(ms) {
  return ms < 10 ? ms.toFixed(1) + " ms" : Math.round(ms) + " ms";
}

// call emits an event and resolves with the arguments of its acknowledgement.
export function call(event, ...args) {
  const entry = record("out", event, args);
  const from = performance.now();
  return new Promise((resolve, reject) => {
    socket.timeout(ACK_WAIT).emit(event, ...args, (err, ...reply) => {
      if (err) {
        entry.lost();
        reject(err);
        return;
      }
      entry.acked(performance.now() - from, reply);
      resolve(reply);
    });
  });
}

async function emit(room) {
  let args;
  try {
    args = parse($("args").value);
  } catch (e) {
    throw new Error("The arguments are no JSON: " + e.message);
  }
  const file = $("file").files[0];
  if (file?.size > LARGEST) throw new Error("The file has more than " + LARGEST.toLocaleString() + " bytes.");
  if (file) args.push(await file.arrayBuffer());
  const event = $("event").value;
  if ($("to").value === "room") {
    if (!room) throw new Error("You are in no room.");
    const request = { room, event };
    if (args.length) request.data = args.length === 1 ? args[0] : args;
    const [reply] = await call("publish", request);
    if (!reply?.ok) throw new Error(reply?.error?.message ?? "The server has refused that.");
  } else if ($("ack").checked) {
    await call(event, ...args);
  } else {
    socket.emit(event, ...args); // throws for the names that the protocol has taken
    record("out", event, args);
  }
  $("file").value = "";
}

function hint() {
  const room = $("to").value === "room";
  $("ack").disabled = room; // the server always says what has become of it
  $("ack").parentElement.classList.toggle("off", room);
}

// start begins; room gives the name of the room that is shown.
export function start(s, room) {
  socket = s;
  socket.onAny((name, ...args) => {
    const last = args.at(-1);
    if (typeof last === "function") { // the other side waits for an acknowledgement
      args.pop();
      last("seen");
    }
    record("in", String(name), args);
  });
  $("housekeeping").addEventListener("change", (e) => $("events").classList.toggle("all", e.target.checked));
  $("clear").addEventListener("click", () => $("events").replaceChildren());
  $("to").addEventListener("change", () => {
    if ($("event").value === "greeting" && $("to").value === "server") $("event").value = "echo";
    else if ($("event").value === "echo" && $("to").value === "room") $("event").value = "greeting";
    hint();
  });
  $("compose").addEventListener("submit", async (e) => {
    e.preventDefault();
    show("compose-error", false);
    try {
      await emit(room());
    } catch (err) {
      show("compose-error", true, socket.connected ? err.message : "There is no connection.");
    }
  });
  hint();
}
