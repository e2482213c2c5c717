// The demo chat page of sockeye serve. Whatever comes from others is shown through text nodes only.
"use strict";

const $ = (id) => document.getElementById(id);
const HOME = "lobby";
const KEEP = 500; // entries kept in the log of a room
const ASK_AGAIN = 30_000; // ms between two looks at who is here: events say the rest

const rooms = new Map(); // name -> {log: [], people: Map(id -> name), unread}
let current = HOME;
let me = storedName();
let socket;

function storedName() {
  try {
    const name = sessionStorage.getItem("name");
    if (name) return name;
  } catch { /* no storage: a new name for each page */ }
  const animals = ["Heron", "Otter", "Puffin", "Salmon", "Seal", "Tern", "Trout", "Whale"];
  const pick = crypto.getRandomValues(new Uint16Array(2));
  return animals[pick[0] % animals.length] + " " + (pick[1] % 900 + 100);
}

function element(tag, props, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children); // strings become text nodes
  return e;
}

function text(v, limit) {
  return typeof v === "string" ? v.slice(0, limit) : "";
}

// Drawing.

function showState(state) {
  $("state").dataset.state = state;
  $("state-text").textContent = state;
  const on = state === "connected";
  $("transport").hidden = !on;
  for (const b of document.querySelectorAll("#send button, #join button, #leave")) b.disabled = !on;
}

function showTransport() {
  $("transport").textContent = socket.io.engine.transport.name;
}

function showRooms() {
  $("rooms").replaceChildren(...[...rooms].map(([name, room]) => {
    const b = element("button", { type: "button", onclick: () => enter(name) }, element("span", {}, "# " + name));
    if (name === current) b.setAttribute("aria-current", "true");
    if (room.unread) {
      const badge = element("span", { className: "unread" }, String(room.unread));
      badge.setAttribute("aria-label", room.unread + " unread");
      b.append(badge);
    }
    return element("li", {}, b);
  }));
  $("leave").hidden = rooms.size < 2;
}

function showPeople() {
  const people = rooms.get(current)?.people ?? new Map();
  const sorted = [...people].sort((a, b) => a[1].localeCompare(b[1]));
  $("people").replaceChildren(...sorted.map(([id, name]) => {
    const li = element("li", {}, name);
    if (id === socket.id) li.append(element("span", { className: "you" }, " (you)"));
    return li;
  }));
  $("count").textContent = String(people.size);
}

function entry(e) {
  if (e.event) return element("li", { className: "event" }, e.event);
  const time = e.at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return element("li", { className: e.mine ? "mine" : "" },
    element("span", { className: "by" }, (e.mine ? "You" : e.name) + " · " + time), element("p", {}, e.text));
}

function showLog() {
  $("title").textContent = "# " + current;
  $("log").replaceChildren(...(rooms.get(current)?.log ?? []).map(entry));
  $("log").scrollTop = $("log").scrollHeight;
}

function add(name, e) {
  const room = rooms.get(name);
  if (!room) return;
  room.log.push(e);
  if (room.log.length > KEEP) room.log.shift();
  if (name === current) {
    const atEnd = $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 60;
    $("log").append(entry(e));
    while ($("log").children.length > KEEP) $("log").firstChild.remove();
    if (atEnd || e.mine) $("log").scrollTop = $("log").scrollHeight;
  } else if (!e.event) {
    room.unread++;
    showRooms();
  }
}

let noticeTimer;
function notice(message) {
  $("notice").textContent = message;
  $("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { $("notice").hidden = true; }, 5000);
}

// Talking to the server. Every request is acknowledged with {ok} or {ok, error: {code, message}}.

async function ask(event, ...args) {
  try {
    const reply = await socket.timeout(10_000).emitWithAck(event, ...args);
    if (reply?.ok) return reply;
    notice(text(reply?.error?.message, 200) || "The server has refused that.");
  } catch {
    if (socket.connected) notice("The server did not answer in time.");
  }
  return null;
}

function enter(name) {
  current = name;
  const room = rooms.get(name);
  if (room) room.unread = 0;
  showRooms();
  showLog();
  showPeople();
  refresh(name);
  $("text").focus();
}

async function join(name) {
  if (!await ask("join", name)) return false;
  if (!rooms.has(name)) rooms.set(name, { log: [], people: new Map(), unread: 0 });
  return true;
}

async function leave(name) {
  if (!await ask("leave", name)) return;
  rooms.delete(name);
  enter(rooms.keys().next().value);
}

async function refresh(name) {
  if (!socket.connected) return;
  const reply = await ask("sockeye:who", name);
  const room = rooms.get(name);
  if (!reply || !room || !Array.isArray(reply.people)) return;
  room.people = new Map(reply.people.map((p) => [text(p?.id, 64), text(p?.name, 40) || "guest"]));
  if (name === current) showPeople();
}

async function connected() {
  showState("connected");
  showTransport();
  await ask("sockeye:profile", { name: me });
  const wanted = rooms.size ? [...rooms.keys()] : [HOME];
  for (const name of wanted) {
    if (!await join(name)) rooms.delete(name);
  }
  if (!rooms.has(current) && rooms.size) current = rooms.keys().next().value;
  enter(current);
}

function presence(p, here) {
  const room = rooms.get(p?.room);
  if (!room) return;
  const id = text(p.id, 64), name = text(p.name, 40) || "guest";
  const known = room.people.get(id);
  if (here) {
    room.people.set(id, name);
    if (known === undefined) add(p.room, { event: name + " has joined" });
    else if (known !== name) add(p.room, { event: known + " is now " + name });
  } else if (room.people.delete(id)) {
    add(p.room, { event: name + " has left" });
  }
  if (p.room === current) showPeople();
}

function start() {
  if (typeof io !== "function") {
    showState("disconnected");
    notice("The Socket.IO client could not be loaded.");
    return;
  }
  $("name").value = me;
  // The page may be served below a path.
  socket = io({ path: new URL("socket.io/", document.baseURI).pathname });
  socket.on("connect", connected);
  socket.on("disconnect", () => showState(socket.active ? "connecting" : "disconnected"));
  socket.on("connect_error", () => showState(socket.active ? "connecting" : "disconnected"));
  socket.io.on("open", () => socket.io.engine.on("upgrade", showTransport));
  socket.on("chat", (m) => add(m?.room, {
    name: text(m?.name, 40) || "guest", text: text(m?.text, 2000), at: new Date(),
  }));
  socket.on("sockeye:here", (p) => presence(p, true));
  socket.on("sockeye:gone", (p) => presence(p, false));
  setInterval(() => { if (rooms.has(current)) refresh(current); }, ASK_AGAIN);

  $("send").addEventListener("submit", async (e) => {
    e.preventDefault();
    const said = $("text").value.trim();
    const room = current;
    if (!said || !socket.connected) return;
    $("text").value = "";
    if (await ask("publish", { room, event: "chat", data: { room, name: me, text: said } })) {
      add(room, { mine: true, text: said, at: new Date() });
    } else if (!$("text").value) {
      $("text").value = said;
    }
  });
  $("join").addEventListener("submit", async (e) => {
    e.preventDefault();
    const name = $("room").value.trim();
    if (name && await join(name)) {
      $("room").value = "";
      enter(name);
    }
  });
  $("leave").addEventListener("click", () => leave(current));
  $("profile").addEventListener("submit", (e) => e.preventDefault());
  $("name").addEventListener("change", async () => {
    const name = $("name").value.trim();
    if (!name) { $("name").value = me; return; }
    me = name;
    try { sessionStorage.setItem("name", me); } catch { /* no storage */ }
    if (await ask("sockeye:profile", { name: me })) refresh(current);
  });
}

start();
