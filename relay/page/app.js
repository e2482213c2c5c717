// The demo page of sockeye serve: a chat in rooms, and beside it what goes over the wire.

import { $, element, notice, show, tabs, text } from "./dom.js";
import * as events from "./events.js";
import * as link from "./link.js";

const HOME = "lobby";
const KEEP = 500; // entries kept in the log of a room
const GRACE = 3000; // ms that somebody may be away without having left
const ASK_AGAIN = 30_000; // ms between two looks at who is here: events say the rest

const rooms = new Map(); // name -> {log: [], people: Map(id -> {name, user}), unread}
let current = "";
let me = storedName(), chosen = stored("name") !== "";
let socket, fresh;

function stored(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return ""; // no storage
  }
}

function storedName() {
  const name = stored("name");
  if (name) return name;
  const animals = ["Heron", "Otter", "Puffin", "Salmon", "Seal", "Tern", "Trout", "Whale"];
  const pick = crypto.getRandomValues(new Uint16Array(2));
  return animals[pick[0] % animals.length] + " " + (pick[1] % 900 + 100);
}

// Drawing.

function showRooms() {
  $("rooms").replaceChildren(...[...rooms].map(([name, room]) => {
    const b = element("button", { type: "button", onclick: () => enter(name, true) }, element("span", {}, "# " + name));
    if (name === current) b.setAttribute("aria-current", "true");
    if (room.unread) {
      const badge = element("span", { className: "unread" }, String(room.unread));
      badge.setAttribute("aria-label", room.unread + " unread");
      b.append(badge);
    }
    return element("li", {}, b);
  }));
  $("leave").hidden = !current;
}

// same tells whether two sockets are tabs of one person.
const same = (a, b) => Boolean(a.user) && a.user === b.user;

// persons gives each user once, however many tabs there are.
function persons(people) {
  const all = [];
  for (const [id, p] of people) {
    const mine = id === socket.id;
    const known = all.find((q) => same(p, q));
    if (known) {
      known.tabs++;
      known.mine ||= mine;
      known.leaving &&= p.leaving;
    } else {
      all.push({ ...p, tabs: 1, mine });
    }
  }
  return all.sort((a, b) => a.name.localeCompare(b.name));
}

function showPeople() {
  const all = persons(rooms.get(current)?.people ?? new Map());
  $("people").replaceChildren(...all.map((p) => {
    const li = element("li", { title: p.user, className: p.leaving ? "leaving" : "" }, element("bdi", {}, p.name));
    if (p.mine) li.append(element("span", { className: "soft" }, " (you)"));
    if (p.tabs > 1) li.append(element("span", { className: "tag" }, p.tabs + " tabs"));
    return li;
  }));
  $("count").textContent = String(all.length);
}

function entry(e) {
  if (e.event) return element("li", { className: "event" }, e.event);
  const time = e.at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return element("li", { className: e.mine ? "mine" : "" },
    element("span", { className: "by" }, element("bdi", {}, e.mine ? "You" : e.name), " \u00b7 " + time),
    element("p", { dir: "auto" }, e.text));
}

function showLog() {
  $("title").textContent = current ? "# " + current : "No room";
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

// Talking to the server. Every request is acknowledged with {ok} or {ok, error: {code, message}}.

async function ask(event, ...args) {
  try {
    const [reply] = await events.call(event, ...args);
    if (reply?.ok) return reply;
    notice(text(reply?.error?.message, 200) || "The server has refused that.");
  } catch {
    if (socket.connected) notice("The server did not answer in time.");
  }
  return null;
}

function enter(name, focus) {
  current = name ?? "";
  const room = rooms.get(current);
  if (room) room.unread = 0;
  showRooms();
  showLog();
  showPeople();
  if (room) refresh(current);
  if (focus) $("text").focus();
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

// outOf takes away rooms that the server has taken the socket out of.
function outOf(names) {
  for (const name of names) rooms.delete(name);
  if (names.length) notice("The new token is not for " + names.map((n) => text(n, 60)).join(", ") + ".");
  enter(rooms.has(current) ? current : rooms.keys().next().value);
}

function person(p) {
  return { name: text(p?.name, 40) || "guest", user: text(p?.user, 256) };
}

async function refresh(name) {
  if (!socket.connected) return;
  const reply = await ask("sockeye:who", name);
  const room = rooms.get(name);
  if (!reply || !room || !Array.isArray(reply.people)) return;
  const leaving = [...room.people].filter(([, p]) => p.leaving);
  room.people = new Map([...leaving, ...reply.people.map((p) => [text(p?.id, 64), person(p)])]);
  if (name === current) showPeople();
}

// told comes after each connection, before which the page does not know who it is, and when that has changed.
async function told(info) {
  const { name, rooms: allowed } = info?.you ?? {};
  const patterns = (Array.isArray(allowed) ? allowed : []).map((r) => text(r, 512)).filter(Boolean);
  show("allowed", patterns.length > 0, "Your token is for " + patterns.join(", "));
  if (!chosen && text(name, 40) && info.you.user) {
    me = text(name, 40);
    $("name").value = me;
  }
  if (!fresh) return;
  fresh = false;
  const exact = patterns.filter((p) => !p.includes("*"));
  const wanted = rooms.size ? [...rooms.keys()] : exact.length ? exact : [HOME];
  const asked = rooms.size > 0;
  await ask("sockeye:profile", { name: me });
  for (const room of asked && socket.recovered ? [] : wanted) { // a recovered session is in its rooms
    if (!await join(room)) rooms.delete(room);
  }
  if (!rooms.has(current)) current = rooms.keys().next().value ?? "";
  if (asked) add(current, { event: socket.recovered ? "you are back: session recovered" : "you are back: new session" });
  enter(current);
}

// arrived and departed: a second tab is no second person, and who comes back soon has not left.

function arrived(p) {
  const room = rooms.get(p?.room);
  if (!room) return;
  const id = text(p.id, 64), who = person(p);
  const known = room.people.get(id);
  let back = [...room.people.values()].some((q) => q !== known && same(who, q));
  for (const [old, q] of room.people) {
    if (!q.leaving || !(old === id || same(q, who) || q.name === who.name)) continue;
    clearTimeout(q.leaving);
    room.people.delete(old);
    back = true;
  }
  room.people.set(id, who);
  if (known === undefined && !back) add(p.room, { event: who.name + " has joined" });
  else if (known !== undefined && known.name !== who.name) add(p.room, { event: known.name + " is now " + who.name });
  if (p.room === current) showPeople();
}

function departed(p) {
  const name = p?.room, id = text(p?.id, 64);
  const room = rooms.get(name), who = room?.people.get(id);
  if (!who || who.leaving) return;
  who.leaving = setTimeout(() => {
    if (rooms.get(name) !== room || room.people.get(id) !== who) return;
    room.people.delete(id);
    if (![...room.people.values()].some((q) => same(who, q))) add(name, { event: who.name + " has left" });
    if (name === current) showPeople();
  }, GRACE);
  if (name === current) showPeople();
}

async function say() {
  const said = $("text").value.trim();
  const room = current;
  if (!said || !room || !socket.connected) return;
  $("text").value = "";
  if (await ask("publish", { room, event: "chat", data: { room, name: me, text: said } })) {
    add(room, { mine: true, text: said, at: new Date() });
  } else if (!$("text").value) {
    $("text").value = said;
  }
}

async function rename() {
  const name = $("name").value.trim();
  if (!name) {
    $("name").value = me;
    return;
  }
  me = name;
  chosen = true;
  try { sessionStorage.setItem("name", me); } catch { /* no storage */ }
  if (await ask("sockeye:profile", { name: me })) refresh(current);
}

function submit(form, f) {
  $(form).addEventListener("submit", (e) => {
    e.preventDefault();
    f();
  });
}

function start() {
  const openTab = tabs();
  if (typeof io !== "function") {
    link.showState("disconnected");
    notice("The Socket.IO client could not be loaded.");
    return;
  }
  $("name").value = me;
  // The page may be served below a path.
  socket = io({ path: new URL("socket.io/", document.baseURI).pathname, auth: link.auth, autoConnect: false, reconnectionDelayMax: 3000 });
  events.start(socket, () => current);
  link.start(socket, events.call, openTab, outOf);
  socket.on("connect", () => { fresh = true; });
  socket.on("sockeye:server", told);
  socket.on("chat", (m) => add(m?.room, {
    name: text(m?.name, 40) || "guest", text: text(m?.text, 2000), at: new Date(),
  }));
  socket.on("sockeye:here", arrived);
  socket.on("sockeye:gone", departed);
  setInterval(() => { if (rooms.has(current)) refresh(current); }, ASK_AGAIN);

  submit("send", say);
  submit("profile", () => {});
  submit("join", async () => {
    const name = $("room").value.trim();
    if (name && await join(name)) {
      $("room").value = "";
      enter(name, true);
    }
  });
  $("leave").addEventListener("click", () => leave(current));
  $("name").addEventListener("change", rename);
  link.showState("connecting");
  socket.connect();
}

start();
