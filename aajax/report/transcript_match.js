// One match: who sits where, what it earned, and what was said, round by round.

const view = { index: readBlock("index"), rounds: [], entry: null, colour: "none" };

const COLOURS = {
  credit: "credit",
  advantage: "advantage",
  log_prob: "probability",
  none: "none",
};

function seatName(entry, i) {
  return `seat ${i} · ${entry.players[i]}`;
}

function seatCard(entry, i) {
  const details = [];
  if (entry.adapters[i] >= 0) details.push(`adapter ${entry.adapters[i]}`);
  if (entry.trained[i]) details.push("learns");
  return element("div", `seat seat-${i % 6}`,
    element("span", "place", `seat ${i}`),
    element("span", "name", entry.players[i]),
    element("span", "detail", details.join(" · ")),
    element("span", "total", number(entry.totals[i]), element("small", "", " points")));
}

function drawMatch(place) {
  const entry = view.index.matches[place];
  view.entry = entry;
  view.rounds = readBlock(`match-${place}`);
  const about = [entry.game.replace(/_/g, " ")];
  if (entry.iteration !== null) about.push(`iteration ${entry.iteration}`);
  if (entry.member !== null) about.push(entry.member);
  about.push(`group ${entry.group}`, `environment seed ${entry.seed}`, counted(view.rounds.length, "round"));
  if (entry.invalid) about.push(counted(entry.invalid, "invalid answer"));
  if (entry.retried) about.push(counted(entry.retried, "retried answer"));
  const transcript = document.getElementById("transcript");
  transcript.style.setProperty("--seats", entry.players.length);
  transcript.replaceChildren(
    element("header", "about", element("h2", "", `Match ${entry.number}`), element("p", "", about.join(" · "))),
    element("div", "charts"),
    element("div", "columns seats", ...entry.players.map((_, i) => seatCard(entry, i))),
    ...view.rounds.map(roundSection));
  drawCharts();
  paint();
}

function drawCharts() {
  const holder = document.querySelector("#transcript .charts");
  if (!holder) return;
  const width = holder.clientWidth;
  const each = width > 560 ? Math.floor((width - 24) / 2) : width;
  const rows = view.rounds.map((round) => round.reward);
  const toRound = (t) => document.getElementById(`round-${t}`).scrollIntoView({ block: "start" });
  holder.replaceChildren(
    chartOf(each, "points by round", rows, "bars", toRound, view.rounds.map(troubles)),
    chartOf(each, "points so far", cumulative(rows), "lines", toRound));
}

// How many answers of a round were invalid, and how many tries were thrown away.
function troubles(round) {
  const answers = round.steps.flat().filter((cell) => cell.kind !== undefined);
  return {
    invalid: answers.filter((cell) => !cell.valid).length,
    thrown: answers.reduce((total, cell) => total + Math.max(0, cell.tries - 1), 0),
  };
}

function roundSection(round, t) {
  const entry = view.entry;
  const seats = entry.players.length;
  const section = element("section", "round");
  section.id = `round-${t}`;
  const facts = Object.entries(round.facts);
  const shared = facts.filter(([, x]) => !isBySeat(x, seats));
  section.append(element("h3", "", `Round ${t + 1}`,
    ...shared.map(([name, x]) => fact(name, x))));
  const bySeat = facts.filter(([, x]) => isBySeat(x, seats));
  if (bySeat.length) {
    section.append(element("div", "columns", ...entry.players.map((_, i) =>
      element("p", "facts", seatTag(i), ...bySeat.map(([name, x]) => fact(name, x[i]))))));
  }
  round.steps.forEach((step, s) => {
    section.append(element("div", "columns step", ...step.map((cell, i) => cellOf(cell, t, s, i))));
  });
  const sums = cumulative(view.rounds.slice(0, t + 1).map((one) => one.reward))[t];
  section.append(element("div", "columns", ...entry.players.map((_, i) =>
    element("p", `earned seat-${i % 6}`, seatTag(i), ...earned(round, sums, i)))));
  return section;
}

function isBySeat(x, seats) {
  return Array.isArray(x) && x.length === seats;
}

// Seen only where columns are stacked.
function seatTag(i) {
  return element("span", `tag seat-${i % 6}`, seatName(view.entry, i));
}

function fact(name, x) {
  return element("span", "fact", `${name.replace(/_/g, " ")} `, element("b", "", value(x)));
}

function earned(round, sums, i) {
  const parts = [
    element("span", "reward", signed(round.reward[i]), element("small", "", " points")),
    element("span", "sum", element("small", "", "so far "), number(sums[i])),
  ];
  for (const name of ["credit", "advantage"]) {
    const x = round[name] && round[name][i];
    if (x === null || x === undefined) continue;
    const figure = element("span", "painted", signed(x));
    figure.style.backgroundColor = background(name, x);
    parts.push(element("span", name, element("small", "", `${name} `), figure));
  }
  return parts;
}

function cellOf(cell, t, s, i) {
  const made = element("div", `cell seat-${i % 6}`, seatTag(i));
  if (cell.told) {
    const preview = cell.told.trim().split("\n").filter(Boolean);
    const first = preview.length > 1 ? `${preview[0]} …` : preview[0] || "";
    const read = cell.read ? `${counted(cell.read, "token")} read` : "";
    made.append(element("details", "told",
      element("summary", "", element("span", "label", "told"),
        element("span", "preview", first), element("span", "read", read)),
      element("div", "text", cell.told)));
  }
  if (cell.kind === undefined) {
    if (!cell.told) made.append(element("p", "silent", "only listens"));
    return made;
  }
  const bad = cell.valid ? "" : " invalid";
  const retried = cell.tries > 1 ? " retried" : "";
  const marks = element("p", "marks", element("span", "label", cell.kind.replace(/_/g, " ")));
  if (cell.action !== null) {
    marks.append(element("span", "action", "counts as ", element("b", "", value(cell.action))));
  }
  if (!cell.valid) marks.append(element("span", "badge bad", "✕ invalid"));
  if (cell.tries > 1) {
    marks.append(element("span", "badge again", `↻ ${counted(cell.tries - 1, "answer")} thrown away`));
  }
  const words = element("div", "words");
  words.dataset.at = JSON.stringify([t, s, i]);
  fillAnswer(words, cell);
  made.append(element("div", `answer${bad}${retried}`, marks, words));
  return made;
}

// An answer by tokens, where their texts are known; what comes before </think> folds.
function fillAnswer(words, cell) {
  const end = "</think>";
  const cut = cell.answer.indexOf(end);
  if (!cell.texts) {
    const whole = (text) => element("span", "token whole", text);
    if (cut < 0) words.append(whole(cell.answer || "(nothing)"));
    else words.append(reasoning(whole(cell.answer.slice(0, cut + end.length))), whole(cell.answer.slice(cut + end.length)));
    return;
  }
  const spans = cell.texts.map((text, place) => tokenSpan(text, place, cell.markers[place]));
  const thinking = cell.texts.join("").indexOf(end);
  let first = 0;
  if (thinking >= 0) {
    for (let length = 0; length < thinking + end.length; first++) length += cell.texts[first].length;
    words.append(reasoning(...spans.slice(0, first)));
  }
  words.append(...spans.slice(first));
}

function reasoning(...spans) {
  return element("details", "reasoning", element("summary", "", "reasoning"), ...spans);
}

function tokenSpan(text, place, marker) {
  const isMarker = marker !== undefined;
  const shown = isMarker ? marker || "no text" : text;
  const span = element("span", isMarker ? "token marker" : text === "" ? "token part" : "token", shown);
  span.dataset.place = place;
  return span;
}

function cellAt(words) {
  const [t, s, i] = JSON.parse(words.dataset.at);
  const round = view.rounds[t];
  const of = (name) => (round[name] ? round[name][i] : null);
  return { cell: round.steps[s][i], credit: of("credit"), advantage: of("advantage") };
}

// Colours: a share of the pole's colour, none of it at zero.
function paint() {
  const { colour } = view;
  for (const words of document.querySelectorAll("#transcript .words")) {
    const { cell, credit, advantage } = cellAt(words);
    const ofRound = { credit, advantage }[colour];
    for (const span of words.querySelectorAll(".token")) {
      const x = colour === "log_prob" ? logProbOf(cell, span) : ofRound;
      span.style.backgroundColor = background(colour, x);
    }
  }
  drawLegend();
}

const RARE = Math.log(0.01); // from here on the colour of a probability is strongest
const STRONGEST = 0.62; // share of a pole's colour that leaves texts legible

function background(colour, x) {
  const limit = colour === "log_prob" ? RARE : view.index.limits[colour];
  if (typeof x !== "number" || !limit || !x) return "";
  const weight = STRONGEST * Math.min(1, Math.abs(x / limit));
  const pole = colour === "log_prob" ? "--rare" : x < 0 ? "--minus" : "--plus";
  return `rgb(var(${pole}) / ${weight.toFixed(3)})`;
}

function logProbOf(cell, span) {
  if (!cell.log_prob) return null;
  if (span.dataset.place !== undefined) return cell.log_prob[span.dataset.place];
  const known = cell.log_prob.filter(Number.isFinite);
  return known.reduce((sum, x) => sum + x, 0) / (known.length || 1);
}

function drawLegend() {
  const legend = document.getElementById("legend");
  legend.className = view.colour;
  const limit = view.index.limits[view.colour];
  const ends = {
    credit: ["−" + number(limit, 3), "0", "+" + number(limit, 3)],
    advantage: ["−" + number(limit, 3), "0", "+" + number(limit, 3)],
    log_prob: ["100 %", "10 %", "1 %"],
    none: [],
  }[view.colour];
  legend.replaceChildren(...(ends.length ? [element("div", "ramp"), element("div", "ends", ...ends.map((x) => element("span", "", x)))] : []));
}

function tokenTip(span) {
  const words = span.closest(".words");
  const { cell, credit, advantage } = cellAt(words);
  const rows = Object.entries({ credit, advantage }).filter(([, x]) => x !== null).map(([name, x]) => [name, signed(x)]);
  if (!rows.length) rows.push(["credit", "none"]);
  const place = span.dataset.place;
  if (place === undefined) {
    if (cell.log_prob) {
      const known = cell.log_prob.filter(Number.isFinite);
      rows.push(["log-prob of all", number(known.reduce((sum, x) => sum + x, 0))], ["tokens", String(cell.ids.length)]);
    }
    tip.show(span, "whole answer", rows);
    return;
  }
  const x = cell.log_prob[place];
  rows.push(["probability", percent(x)], ["log-prob", number(x)], ["token id", String(cell.ids[place])],
    ["token", `${Number(place) + 1} of ${cell.ids.length}`]);
  const text = cell.markers[place] === undefined ? JSON.stringify(cell.texts[place]) : cell.markers[place] || "no text";
  tip.show(span, text, rows);
}

function roundTip(hit) {
  const t = Number(hit.dataset.round);
  const sums = cumulative(view.rounds.slice(0, t + 1).map((one) => one.reward))[t];
  const rows = view.entry.players.map((_, i) => [
    seatName(view.entry, i), `${signed(view.rounds[t].reward[i])}, so far ${number(sums[i])}`,
  ]);
  const { invalid, thrown } = troubles(view.rounds[t]);
  if (invalid) rows.push(["invalid answers", String(invalid)]);
  if (thrown) rows.push(["thrown away", String(thrown)]);
  tip.show(hit, `Round ${t + 1}`, rows);
}
