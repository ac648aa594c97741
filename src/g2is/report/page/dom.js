// Small pieces of a page. Texts become text nodes, never markup.
function make(tag, attributes, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (name === "color") found.style.background = value;
    else found.setAttribute(name, value === true ? "" : value);
  }
  add(found, children);
  return found;
}

function add(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return parent;
}

function emptied(parent, ...children) {
  parent.replaceChildren();
  return add(parent, children);
}

function svg(tag, attributes, ...children) {
  const found = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) found.setAttribute(name, value);
  for (const child of children.flat()) found.append(child);
  return found;
}

const whole = new Intl.NumberFormat("en");
const count = (number) => (number === null || number === undefined ? "–" : whole.format(number));
const fixed = (number, digits = 3) => (number === null || number === undefined ? "–" : number.toFixed(digits));
// A number of any size: three places, or three digits where that would leave too few.
const shown = (number) => (number === null || number === undefined ? "–" : Math.abs(number) >= 0.1 || number === 0 ? fixed(number) : number.toPrecision(3));
const percent = (part, of) => (of ? `${((100 * part) / of).toFixed(1)}%` : "–");
const several = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const color = (number) => (number < 0 ? "var(--text)" : `var(--c${number % 8})`);

function seconds(number) {
  if (number < 60) return `${number.toFixed(number < 10 ? 1 : 0)} s`;
  const minutes = Math.round(number / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function section(id, title, lead, ...children) {
  return make("section", { id, "aria-labelledby": `${id}-title` },
    make("h2", { id: `${id}-title` }, title), lead ? make("p", { class: "lead" }, lead) : null, children);
}

function card(title, ...children) {
  return make("div", { class: "card" }, title ? make("h3", {}, title) : null, children);
}

// A colour of the style sheet as numbers, for a canvas: [r, g, b] from 0 to 255.
const probe = make("span", { hidden: true });
function rgb(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
}

function turnList(turns) {
  return make("div", { class: "turns", tabindex: "0", role: "group", "aria-label": "text" },
    turns.map(([role, text]) => make("div", { class: `turn ${role === "assistant" ? "assistant" : ""}` }, make("b", {}, role), text)));
}
