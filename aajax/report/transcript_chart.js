// Points of a match by round: as they were earned, and summed up.

const CHART_HEIGHT = 92;
const CHART_EDGE = { left: 40, top: 12, bottom: 18 };
const CHART_RIGHT = { bars: 4, lines: 46 }; // lines have labels there

function chartOf(width, title, rows, kind, onRound, troubled = []) {
  const { left, top, bottom } = CHART_EDGE;
  const right = CHART_RIGHT[kind];
  const [numRounds, numSeats] = [rows.length, rows[0].length];
  const known = rows.flat().filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
  const inner = width - left - right;
  const slot = inner / numRounds;
  const tall = CHART_HEIGHT - top - bottom;
  const y = (x) => top + (tall * (high - x)) / (high - low || 1);
  const middle = (t) => left + slot * (t + 0.5);
  const picture = shape("svg", {
    width, height: CHART_HEIGHT, viewBox: `0 0 ${width} ${CHART_HEIGHT}`, role: "img", "aria-label": title,
  });
  const levels = low < 0 && high > 0 ? [low, 0, high] : [low, high];
  let lastLevel = Infinity;
  for (const level of [...new Set(levels)].reverse()) {
    picture.append(shape("line", {
      x1: left, x2: width - right, y1: y(level), y2: y(level),
      class: level === 0 ? "axis" : "grid",
    }));
    if (Math.abs(y(level) - lastLevel) < 11) continue;
    lastLevel = y(level);
    picture.append(shape("text", {
      x: left - 6, y: y(level) + 3, "text-anchor": "end",
    }, number(level, 3)));
  }
  const every = Math.ceil(22 / slot);
  for (let t = 0; t < numRounds; t++) {
    if (t % every) continue;
    picture.append(shape("text", {
      x: middle(t), y: CHART_HEIGHT - 4, "text-anchor": "middle",
    }, String(t + 1)));
  }
  const draw = kind === "bars" ? drawBars : drawLines;
  draw(picture, rows, { slot, middle, y, numSeats, end: width - right });
  troubled.forEach(({ invalid, thrown }, t) => {
    const mark = invalid ? "✕" : thrown ? "↻" : "";
    picture.append(shape("text", {
      x: middle(t), y: 8, "text-anchor": "middle", class: "trouble",
    }, mark));
  });
  for (let t = 0; t < numRounds; t++) {
    const hit = shape("rect", {
      x: left + slot * t, y: 0, width: slot, height: CHART_HEIGHT, class: "hit",
      "data-round": t,
    });
    hit.addEventListener("click", () => onRound(t));
    picture.append(hit);
  }
  return element("figure", "chart", element("figcaption", "", title), picture);
}

function drawBars(picture, rows, { slot, middle, y, numSeats }) {
  const wide = Math.max(1, Math.min(14, (slot * 0.8) / numSeats - 1));
  rows.forEach((row, t) => row.forEach((x, i) => {
    if (!Number.isFinite(x)) return;
    picture.append(shape("rect", {
      x: middle(t) + (i - numSeats / 2) * (wide + 1), width: wide,
      y: Math.min(y(x), y(0)), height: Math.max(0.5, Math.abs(y(x) - y(0))),
      class: `seat-${i % 6} fill`, rx: 1,
    }));
  }));
}

function drawLines(picture, rows, { middle, y, numSeats, end }) {
  const last = rows.length - 1;
  const labels = [];
  for (let i = 0; i < numSeats; i++) {
    const points = rows.map((row, t) => [middle(t), y(row[i])]).filter((p) => Number.isFinite(p[1]));
    picture.append(shape("polyline", {
      points: points.map((p) => p.join(",")).join(" "), class: `seat-${i % 6} stroke`,
    }));
    for (const [cx, cy] of rows.length <= 40 ? points : points.slice(-1)) {
      picture.append(shape("circle", { cx, cy, r: 2, class: `seat-${i % 6} fill` }));
    }
    if (Number.isFinite(rows[last][i])) labels.push([y(rows[last][i]), i]);
  }
  // Labels of ends that are close are moved apart.
  labels.sort((a, b) => a[0] - b[0]);
  let above = -Infinity;
  for (const [at, i] of labels) {
    above = Math.max(at + 3, above + 11);
    picture.append(shape("text", {
      x: end + 4, y: above, class: `seat-${i % 6} fill label`,
    }, number(rows[last][i])));
  }
}

function cumulative(rows) {
  const sums = rows[0].map(() => 0);
  return rows.map((row) => row.map((x, i) => (sums[i] += x)));
}
