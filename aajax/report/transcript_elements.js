"use strict";
// Elements, numbers and the box of numbers under the pointer. Texts of matches become
// text nodes alone: nothing in this page parses them as HTML.

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function shape(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function readBlock(name) {
  return JSON.parse(document.getElementById(name).textContent);
}

// Numbers that are none arrive as words, such as "nan".
function number(x, digits = 4) {
  if (x === null || x === undefined) return "–";
  if (typeof x !== "number") return String(x);
  const text = String(Number(x.toPrecision(digits)));
  return text.replace(/-/g, "−");
}

function signed(x, digits = 4) {
  return typeof x === "number" && x > 0 ? "+" + number(x, digits) : number(x, digits);
}

function percent(logProb) {
  if (typeof logProb !== "number") return "–";
  const p = 100 * Math.exp(logProb);
  return (p >= 99.995 ? "100" : p >= 0.01 ? p.toPrecision(3) : p.toExponential(1)) + " %";
}

// A value of the environment: a number, a word, or lists of them.
function value(x) {
  if (Array.isArray(x)) return x.map(value).join(x.some(Array.isArray) ? "; " : ", ");
  return typeof x === "number" ? number(x) : String(x);
}

function counted(n, one, many = one + "s") {
  return `${n} ${n === 1 ? one : many}`;
}

const tip = {
  box: document.getElementById("tip"),
  pinned: null,

  // rows: [name, text].
  show(anchor, title, rows) {
    const list = element("dl");
    for (const [name, text] of rows) {
      list.append(element("dt", "", name), element("dd", "", text));
    }
    this.box.replaceChildren(element("strong", "", title), list);
    this.box.hidden = false;
    const [at, own] = [anchor.getClientRects()[0], this.box.getBoundingClientRect()];
    if (!at) return;
    const left = Math.min(at.left, document.documentElement.clientWidth - own.width - 8);
    const above = at.top - own.height - 6;
    this.box.style.left = `${Math.max(8, left)}px`;
    this.box.style.top = `${above > 8 ? above : at.bottom + 6}px`;
  },

  hide() {
    this.box.hidden = true;
    this.pinned = null;
  },
};
