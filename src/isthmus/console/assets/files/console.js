// Keeps an open page live, and adds keys. Everything on the page also works without it.

const page = document.documentElement;
const at = (id) => document.getElementById(id);

/* Colours: the choice is a cookie, so that the server draws the next page in it. */
const schemes = ["light", "auto", "dark"];
const choose = (name) => {
  page.dataset.theme = name;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `isthmus_theme=${name}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  for (const link of document.querySelectorAll("[data-theme-choice]")) {
    link.toggleAttribute("aria-current", false);
    if (link.dataset.themeChoice === name) link.setAttribute("aria-current", "true");
  }
};
for (const link of document.querySelectorAll("[data-theme-choice]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    choose(link.dataset.themeChoice);
  });
}

/* Live panels: the server sends those that changed; what is open stays open and what has focus keeps it. */
const live = at("live");
const panels = () => [...document.querySelectorAll("[data-panel]")];

const place = (panel, [digest, html]) => {
  const open = [...panel.querySelectorAll("details")].map((each) => each.open);
  const scrolled = [...panel.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const focusable = "a, button, summary, [tabindex]";
  const focused = [...panel.querySelectorAll(focusable)].indexOf(document.activeElement);
  panel.innerHTML = html;
  panel.dataset.digest = digest;
  panel.querySelectorAll("details").forEach((each, index) => { each.open = Boolean(open[index]); });
  panel.querySelectorAll(".scroll").forEach((each, index) => { each.scrollLeft = scrolled[index] ?? 0; });
  if (focused >= 0) panel.querySelectorAll(focusable)[focused]?.focus({ preventScroll: true });
};

let stream = null;
let silence = 0;
const say = (word, on) => {
  at("stamp-word").textContent = word;
  at("lamp").classList.toggle("on", on);
};

/* A stream that was refused: either the session has ended, which the next page says, or it is tried again. */
const again = async () => {
  const answer = await fetch("/api/v1/me").catch(() => null);
  if (answer?.status === 401) location.reload();
  else if (!document.hidden) connect();
};
const connect = () => {
  const have = panels().map((each) => `${each.dataset.panel}.${each.dataset.digest}`).join(",");
  const { feed, ...asked } = live.dataset;
  stream = new EventSource(`${feed}?${new URLSearchParams({ ...asked, have })}`);
  stream.onmessage = (event) => {
    const told = JSON.parse(event.data);
    for (const [name, drawn] of Object.entries(told.panels)) {
      const panel = at(name);
      if (panel) place(panel, drawn);
    }
    at("stamp-time").textContent = told.now;
    clearTimeout(silence);
    silence = 0;
    say("Live", true);
  };
  stream.onerror = () => {
    silence ||= setTimeout(() => say("Last seen", false), 4000);
    if (stream?.readyState !== EventSource.CLOSED) return;
    setTimeout(again, 2000 + Math.random() * 3000);
  };
};
const close = () => {
  stream?.close();
  stream = null;
};
if (live) {
  connect();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!stream) connect();
  });
  window.addEventListener("pagehide", close);
}

/* What a button did is told once: a reload does not say it again. */
const here = new URL(location.href);
if (here.searchParams.has("did")) {
  for (const name of ["did", "done", "failed", "more"]) here.searchParams.delete(name);
  history.replaceState(null, "", here);
}

/* Keys. */
const help = at("help");
const opener = at("help-open");
if (opener && help) {
  opener.hidden = false;
  opener.addEventListener("click", () => help.showModal());
}
const go = (key) => {
  const panel = document.querySelector(`[data-key="${key}"]`);
  if (!panel) return;
  panel.tabIndex = -1;
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "start" });
};
const keys = {
  1: () => go(1),
  2: () => go(2),
  3: () => go(3),
  4: () => go(4),
  5: () => go(5),
  m: () => {
    const models = [...document.querySelectorAll(".models a")];
    const now = models.findIndex((each) => each.hasAttribute("aria-current"));
    models[(now + 1) % models.length]?.click();
  },
  t: () => choose(schemes[(schemes.indexOf(page.dataset.theme) + 1) % schemes.length]),
  r: () => location.reload(),
  "?": () => help?.showModal(),
};
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
