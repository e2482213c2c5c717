// What all parts of the page share. Whatever comes from others is shown through text nodes only.

export const $ = (id) => document.getElementById(id);

export function element(tag, props, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children); // strings become text nodes
  return e;
}

export function text(v, limit) {
  return typeof v === "string" ? v.slice(0, limit) : "";
}

export function show(id, on, words) {
  $(id).hidden = !on;
  if (words !== undefined) $(id).textContent = words;
}

let noticeTimer;
export function notice(message) {
  show("notice", true, message);
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => show("notice", false), 5000);
}

// tabs lets the arrow keys and the mouse choose what is shown where there is no room for all.
export function tabs() {
  const all = [...$("tabs").children];
  const select = (tab) => {
    $("columns").dataset.tab = tab.dataset.tab;
    for (const t of all) {
      t.setAttribute("aria-selected", String(t === tab));
      t.tabIndex = t === tab ? 0 : -1;
    }
  };
  for (const [i, tab] of all.entries()) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!step) return;
      const shown = all.filter((t) => t.offsetParent !== null);
      const next = shown[(shown.indexOf(all[i]) + step + shown.length) % shown.length];
      select(next);
      next.focus();
    });
  }
  return (name) => select(all.find((t) => t.dataset.tab === name));
}
