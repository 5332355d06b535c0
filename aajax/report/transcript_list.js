// The list of matches, what is chosen in it, and the keys.

const byId = (name) => document.getElementById(name);
const list = byId("list");
const largest = Math.max(1e-9, ...view.index.matches.flatMap((one) => one.totals.map(Math.abs)).filter(Number.isFinite));
const options = view.index.matches.map(optionOf);
let chosen = -1;
let shown = [];

function optionOf(entry, place) {
  const marks = element("span", "troubles");
  if (entry.invalid) marks.append(element("span", "badge bad", `✕ ${entry.invalid}`));
  if (entry.retried) marks.append(element("span", "badge again", `↻ ${entry.retried}`));
  const where = (entry.member === null ? "" : `${entry.member} · `) +
    (entry.iteration === null ? "" : `iteration ${entry.iteration} · `) + `group ${entry.group}`;
  const option = element("div", "option",
    element("span", "number", `#${entry.number}`), element("span", "where", where), marks);
  option.title = entry.players.join(" – ");
  entry.players.forEach((name, i) => {
    const bar = element("i", `bar seat-${i % 6}`);
    const share = Number.isFinite(entry.totals[i]) ? Math.abs(entry.totals[i]) / largest : 0;
    bar.style.width = `${(100 * share).toFixed(1)}%`;
    option.append(element("span", "row", element("span", "name", name),
      element("span", "track", bar), element("span", "total", number(entry.totals[i]))));
  });
  option.id = `option-${place}`;
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", "false");
  option.dataset.place = place;
  return option;
}

const sum = (entry) => entry.totals.reduce((total, x) => total + Number(x), 0);
const ORDERS = {
  "as recorded": (entry, place) => place,
  "number": (entry) => entry.number,
  "iteration": (entry) => entry.iteration,
  "group": (entry) => entry.group,
  "points of all": sum,
  "difference of points": (entry) => Math.max(...entry.totals) - Math.min(...entry.totals),
  "invalid answers": (entry) => entry.invalid,
  "retried answers": (entry) => entry.retried,
};

function distinct(read) {
  return [...new Set(view.index.matches.map(read))].sort((a, b) => a - b);
}

function fillSelect(name, label, values) {
  const select = byId(name);
  select.append(new Option(`${label}: all`, ""), ...values.map((x) => new Option(`${label} ${x}`, x)));
  select.hidden = values.length < 2;
}

function setUp() {
  const entries = view.index.matches;
  fillSelect("iteration", "iteration", distinct((e) => e.iteration).filter((x) => x !== null));
  fillSelect("group", "group", distinct((e) => e.group));
  const seats = Math.max(...entries.map((e) => e.players.length));
  for (let i = 0; i < seats; i++) ORDERS[`points of seat ${i}`] = (e) => Number(e.totals[i]);
  if (distinct((e) => e.iteration).length < 2) delete ORDERS.iteration;
  byId("order").append(...Object.keys(ORDERS).map((name) => new Option(name, name)));
  byId("troubled").closest("label").hidden = !entries.some((e) => e.invalid + e.retried);
  const known = Object.keys(COLOURS).filter((name) => view.index.limits[name] || name === "none"
    || (name === "log_prob" && entries.some((e) => e.tokens)));
  byId("colour").append(...known.map((name) => new Option(COLOURS[name], name)));
  view.colour = known[0];
}

function arrange() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [iteration, group] = [byId("iteration").value, byId("group").value];
  const isTroubled = byId("troubled").checked;
  const fits = (entry) => {
    const text = [`#${entry.number}`, entry.game, ...entry.players].join(" ").toLowerCase();
    return words.every((word) => text.includes(word))
      && (iteration === "" || String(entry.iteration) === iteration)
      && (group === "" || String(entry.group) === group)
      && (!isTroubled || entry.invalid + entry.retried > 0);
  };
  const key = ORDERS[byId("order").value];
  const sign = byId("direction").textContent === "↓" ? -1 : 1;
  const { matches } = view.index;
  shown = matches.map((_, place) => place).filter((place) => fits(matches[place]));
  shown.sort((a, b) => sign * (key(matches[a], a) - key(matches[b], b)) || a - b);
  list.replaceChildren(...shown.map((place) => options[place]));
  if (!shown.length) list.append(element("p", "empty", "No match fits."));
  byId("count").textContent = shown.length === matches.length
    ? counted(matches.length, "match", "matches") : `${shown.length} of ${counted(matches.length, "match", "matches")}`;
}

function choose(place) {
  if (place === chosen || place === undefined) return;
  if (chosen >= 0) options[chosen].setAttribute("aria-selected", "false");
  chosen = place;
  options[place].setAttribute("aria-selected", "true");
  list.setAttribute("aria-activedescendant", options[place].id);
  options[place].scrollIntoView({ block: "nearest" });
  tip.hide();
  drawMatch(place);
  foldPrompts();
  document.getElementById("match").scrollTop = 0;
  history.replaceState(null, "", `#${place}`);
}

function move(by) {
  const at = shown.indexOf(chosen);
  const next = at < 0 ? 0 : Math.max(0, Math.min(shown.length - 1, at + by));
  choose(shown[next]);
}

function foldPrompts() {
  const isOpen = byId("prompts").getAttribute("aria-pressed") === "true";
  for (const told of document.querySelectorAll(".told")) told.open = isOpen;
}

function togglePrompts() {
  const isOpen = byId("prompts").getAttribute("aria-pressed") === "true";
  byId("prompts").setAttribute("aria-pressed", String(!isOpen));
  byId("prompts").textContent = isOpen ? "Show prompts" : "Hide prompts";
  foldPrompts();
}

function nextColour() {
  const select = byId("colour");
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  p: togglePrompts,
  c: nextColour,
  "/": () => byId("search").focus(),
  Escape: () => tip.hide(),
};
const LIST_KEYS = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  PageDown: () => move(10),
  PageUp: () => move(-10),
  Home: () => move(-Infinity),
  End: () => move(Infinity),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  const action = event.target === list && LIST_KEYS[event.key];
  if (!action && isTyping) {
    if (event.target.id === "search" && ["Enter", "ArrowDown"].includes(event.key)) {
      event.preventDefault();
      list.focus();
      if (!shown.includes(chosen)) move(0);
    }
    return;
  }
  const found = action || KEYS[event.key];
  if (!found) return;
  event.preventDefault();
  found();
});
list.addEventListener("click", (event) => {
  const option = event.target.closest(".option");
  if (option) choose(Number(option.dataset.place));
});
for (const name of ["search", "iteration", "group", "troubled", "order"]) {
  byId(name).addEventListener("input", arrange);
}
byId("direction").addEventListener("click", () => {
  byId("direction").textContent = byId("direction").textContent === "↓" ? "↑" : "↓";
  arrange();
});
byId("previous").addEventListener("click", () => move(-1));
byId("next").addEventListener("click", () => move(1));
byId("prompts").addEventListener("click", togglePrompts);
byId("colour").addEventListener("change", () => {
  view.colour = byId("colour").value;
  paint();
});

// A click keeps the numbers in sight, which is how a finger reads them.
function tipFor(target) {
  if (!(target instanceof Element)) return null;
  const hit = target.closest(".hit");
  if (hit) return () => roundTip(hit);
  const token = target.closest(".token");
  return token && (() => tokenTip(token));
}
const transcript = byId("transcript");
transcript.addEventListener("pointerover", (event) => {
  if (tip.pinned) return;
  const open = tipFor(event.target);
  if (open) open();
  else tip.hide();
});
transcript.addEventListener("pointerleave", () => tip.pinned || tip.hide());
document.addEventListener("click", (event) => {
  const token = event.target instanceof Element && event.target.closest(".token");
  const again = token && token === tip.pinned;
  tip.hide();
  if (!token || again) return;
  tokenTip(token);
  tip.pinned = token;
});
byId("match").addEventListener("scroll", () => tip.hide());
// What sticks below the toolbar, which may be of several lines.
new ResizeObserver(() => {
  byId("match").style.setProperty("--bar", `${byId("toolbar").offsetHeight}px`);
}).observe(byId("toolbar"));
window.addEventListener("resize", drawCharts);
window.addEventListener("beforeprint", () => tip.hide());

setUp();
arrange();
const wanted = Number(location.hash.slice(1));
choose(Number.isInteger(wanted) && options[wanted] ? wanted : 0);
list.focus({ preventScroll: true });
