// The connection: which server, which transport, how far, whether the session came back, and who one is.

import { $, element, show, text } from "./dom.js";
import { expectOffsets, milliseconds, record } from "./events.js";

const PING_EVERY = 3000; // ms
const POINTS = 40;
const AWAY = 6000; // ms

const times = [];
let socket, token, expires, missed = 0, counting = false, before = false;

export const auth = (give) => give(token ? { token } : {});

export function showState(state, words = state) {
  $("dot").dataset.state = state;
  $("state-text").textContent = words;
  const on = state === "connected";
  for (const id of ["transport", "latency", "server"]) $(id).hidden = !on || !$(id).textContent;
  for (const b of document.querySelectorAll("#send button, #join button, #leave, #compose button, #drop, #away")) b.disabled = !on;
  $("toggle").textContent = on || state === "connecting" ? "Disconnect" : "Connect";
  $("use-token").textContent = on ? "Renew" : "Connect";
}

function showTransport() {
  show("transport", true, socket.io.engine.transport.name);
}

// The way there and back is measured by an event that the server acknowledges.
function ping() {
  if (!socket.connected || document.hidden) return;
  const from = performance.now();
  socket.timeout(5000).emit("echo", (err) => {
    if (err) return;
    const ms = performance.now() - from;
    times.push(ms);
    if (times.length > POINTS) times.shift();
    show("latency", true, milliseconds(ms));
    $("latency-text").textContent = milliseconds(ms);
    const top = Math.max(...times, 1);
    $("spark").firstElementChild.setAttribute("points",
      times.map((t, i) => `${(100 - (times.length - 1 - i) * 100 / (POINTS - 1)).toFixed(1)},${(22 - 20 * t / top).toFixed(1)}`).join(" "));
  });
}

// online asks how many users there are, on all servers.
function online() {
  if (!counts || !socket.connected || document.hidden) return;
  socket.timeout(5000).emit("sockeye:online", (err, reply) => {
    if (err || !reply?.ok || !Number.isInteger(reply.users)) return;
    $("online").textContent = `${reply.users} user${reply.users === 1 ? "" : "s"}` +
      (reply.complete ? ", on all servers" : ", on this server; the others do not answer");
  });
}

// connected says what kind of session it is. What was missed has come by the answer to the first question.
function connected() {
  expires = undefined;
  show("refused", false);
  show("expiring", false);
  $("socket-id").textContent = socket.id;
  showState("connected");
  showTransport();
  session();
  record("note", socket.recovered ? "session recovered" : "new session", []);
  socket.emit("sockeye:server", () => {
    counting = false;
    session();
  });
  ping();
}

function session() {
  const kind = socket.recovered ? "recovered" : "new session";
  let words = kind;
  if (socket.recovered && missed) words += `, with ${missed} missed event${missed === 1 ? "" : "s"}`;
  else if (!socket.recovered && before) words += ", rooms joined again";
  $("session").dataset.kind = socket.recovered ? "recovered" : "new";
  $("session").textContent = words;
}

function disconnected(reason) {
  before = counting = true;
  missed = 0;
  record("note", "disconnected: " + reason, []);
  if (socket.active) showState("connecting", "reconnecting");
  else showState("disconnected");
}

function refused(err) {
  if (socket.active) {
    showState("connecting", before ? "reconnecting" : "connecting");
    return;
  }
  const code = text(err.data?.code, 64);
  showState("disconnected", "refused");
  record("note", "refused", [{ message: err.message, ...(code && { code }) }]);
  $("identity").hidden = false;
  $("you").textContent = "The server wants to know who you are.";
  show("refused", true, text(err.message, 300) + (code ? ` (${code})` : ""));
  reveal();
}

let reveal, moved, counts;

// told shows what the server says of itself.
function told(info) {
  const name = text(info?.name, 64);
  expectOffsets(info?.recovery === true);
  show("server", Boolean(name), name);
  $("server-name").textContent = name + (info?.cluster ? ", in a cluster" : ", alone");
  $("link-hint").textContent = info?.recovery
    ? "A dropped connection comes back by itself, and the server sends what was missed meanwhile."
    : "A dropped connection comes back by itself. This server keeps nothing of what was missed meanwhile: see --recovery.";
  counts = info?.presence === true;
  for (const e of document.querySelectorAll(".online")) e.hidden = !counts;
  online();
  const peers = Array.isArray(info?.servers) ? info.servers : [];
  show("peers", peers.length > 0);
  $("peer-list").replaceChildren(...peers.flatMap((p) => peer(p) ?? []));
  if (!info?.identity) return;
  const you = info.you ?? {};
  show("identity", true);
  expires = Number.isFinite(you.expires) && you.expires > 0 ? you.expires : undefined;
  showYou(text(you.user, 256));
}

function showYou(user) {
  $("you").dataset.user = user;
  $("you").textContent = (user ? "You are " + user : "Nobody knows who you are") +
    (expires ? ", until " + new Date(expires).toLocaleTimeString() : "") + ".";
}

// peer makes a link of a server, if it is one that a browser should follow.
function peer(p) {
  let url;
  try {
    url = new URL(p?.url);
  } catch {
    return null;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  if (url.hostname === "localhost") url.hostname = location.hostname;
  const name = text(p.name, 64) || url.host;
  return element("li", {}, element("a", { href: url.href, target: "_blank", rel: "noopener" }, name), " ",
    element("span", { className: "mono" }, url.host));
}

function countDown() {
  if (!expires || $("expiring").hidden) return;
  const left = Math.max(0, Math.round((expires - Date.now()) / 1000));
  $("expiring").textContent = `Your token ends in ${left} s. Bring another one to stay.`;
}

async function useToken(call) {
  const given = $("token").value.trim();
  if (!given) return;
  show("refused", false);
  if (!socket.connected) {
    token = given;
    $("token").value = "";
    socket.disconnect().connect();
    return;
  }
  try {
    const [reply] = await call("sockeye:renew", { token: given });
    if (!reply?.ok) {
      show("refused", true, text(reply?.error?.message, 300) + ` (${text(reply?.error?.code, 64)})`);
      return;
    }
    token = given;
    $("token").value = "";
    expires = reply.expires;
    show("expiring", false);
    showYou($("you").dataset.user);
    moved(Array.isArray(reply.left) ? reply.left : []);
    socket.emit("sockeye:server");
  } catch {
    show("refused", true, "The server did not answer in time.");
  }
}

function buttons() {
  $("drop").addEventListener("click", () => socket.io.engine.close());
  $("away").addEventListener("click", () => {
    const delay = socket.io.reconnectionDelay();
    const longest = socket.io.reconnectionDelayMax();
    socket.io.reconnectionDelayMax(AWAY);
    socket.io.reconnectionDelay(AWAY);
    socket.io.engine.close();
    socket.io.once("open", () => {
      socket.io.reconnectionDelay(delay);
      socket.io.reconnectionDelayMax(longest);
    });
  });
  $("toggle").addEventListener("click", () => {
    if ($("toggle").textContent === "Connect") {
      showState("connecting");
      socket.connect();
    } else {
      socket.disconnect();
      showState("disconnected");
    }
  });
  $("transports").addEventListener("change", (e) => {
    socket.io.opts.transports = e.target.value.split(",");
    if (socket.connected) socket.io.engine.close(); // it comes back over the other one
  });
}

// start begins; call makes a request, openTab brings the connection into view, and left is told of the rooms that a new
// token does not allow.
export function start(s, call, openTab, left) {
  socket = s;
  moved = left;
  reveal = () => {
    openTab("link");
    $("token").focus();
  };
  socket.onAny((name) => { if (counting && name !== "sockeye:server") missed++; });
  socket.on("connect", connected);
  socket.on("disconnect", disconnected);
  socket.on("connect_error", refused);
  socket.io.on("open", () => socket.io.engine.on("upgrade", showTransport));
  socket.io.on("reconnect_attempt", (n) => showState("connecting", n > 1 ? `reconnecting (${n})` : "reconnecting"));
  socket.on("sockeye:server", told);
  socket.on("sockeye:expiring", (e) => {
    expires = Date.now() + (Number(e?.in) || 0); // by the clock of this machine
    show("expiring", true);
    show("identity", true);
    countDown();
  });
  socket.on("sockeye:expired", (e) => {
    show("expiring", false);
    show("refused", true, text(e?.message, 300) || "The token has expired.");
    token = undefined;
    reveal();
  });
  $("identity").addEventListener("submit", (e) => {
    e.preventDefault();
    useToken(call);
  });
  buttons();
  setInterval(ping, PING_EVERY);
  setInterval(online, PING_EVERY);
  setInterval(countDown, 1000);
}
