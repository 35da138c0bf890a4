"use strict";

const $ = (id) => document.getElementById(id);
const SCREENS = ["sign-in", "intro", "reading", "done"];
let reader = "", session = null, at = { task: 0, item: 0 }, viewers = [], active = 0, shownAt = 0, saving = false;

function show(screen) {
  for (const id of SCREENS) $(id).hidden = id !== screen;
}

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

async function call(path, body) {
  const options = { headers: { "X-Reader": reader } };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  const response = await fetch(path, options);
  const told = await response.json();
  if (!response.ok) throw new Error(told.error);
  return told;
}

// One image on a canvas: window and level by a table of grey levels, zoom about a point, move.
class Viewer {
  constructor(part) {
    this.figure = make("figure", null);
    this.readout = make("span", "");
    this.canvas = make("canvas", null, { tabindex: "0", role: "img", "aria-label": part.label });
    const caption = make("figcaption", part.label);
    caption.append(this.readout);
    this.figure.append(caption, this.canvas);
    this.reset();
    this.image = new Image();
    this.image.onload = () => this.load();
    this.image.src = "/items/" + part.image;
    this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
    this.canvas.addEventListener("focus", () => activate(viewers.indexOf(this)));
    this.canvas.addEventListener("dblclick", () => { this.reset(); this.draw(); });
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.offsetX, event.offsetY);
    }, { passive: false });
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
  }

  reset() {
    Object.assign(this, { level: 127.5, width: 255, zoom: 1, x: 0, y: 0, inverted: false });
  }

  load() {
    this.source = make("canvas", null);
    this.source.width = this.image.width;
    this.source.height = this.image.height;
    const context = this.source.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.image, 0, 0);
    this.pixels = context.getImageData(0, 0, this.image.width, this.image.height);
    this.greys = this.pixels.data.filter((_, index) => index % 4 === 0);
    this.draw();
  }

  draw() {
    const ratio = window.devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
    if (!this.greys || !box.width) return;
    this.canvas.width = box.width * ratio;
    this.canvas.height = box.height * ratio;
    const table = new Uint8ClampedArray(256);
    for (let grey = 0; grey < 256; grey++) {
      const value = 255 * (grey - this.level + this.width / 2) / this.width;
      table[grey] = this.inverted ? 255 - value : value;
    }
    const data = this.pixels.data;
    for (let i = 0; i < this.greys.length; i++) data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = table[this.greys[i]];
    this.source.getContext("2d").putImageData(this.pixels, 0, 0);
    const scale = Math.min(box.width / this.source.width, box.height / this.source.height) * this.zoom;
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.setTransform(ratio, 0, 0, ratio, ratio * box.width / 2, ratio * box.height / 2);
    context.drawImage(this.source, this.x - scale * this.source.width / 2, this.y - scale * this.source.height / 2,
      scale * this.source.width, scale * this.source.height);
    this.readout.textContent = `L ${Math.round(this.level)}  W ${Math.round(this.width)}  ${this.zoom.toFixed(1)}×`;
  }

  zoomBy(factor, offsetX, offsetY) {
    const box = this.canvas.getBoundingClientRect(), before = this.zoom;
    this.zoom = Math.min(16, Math.max(1, this.zoom * factor));
    const grown = this.zoom / before, x = (offsetX ?? box.width / 2) - box.width / 2, y = (offsetY ?? box.height / 2) - box.height / 2;
    this.moveTo(x - grown * (x - this.x), y - grown * (y - this.y));
  }

  moveTo(x, y) {
    const box = this.canvas.getBoundingClientRect(), side = Math.min(box.width, box.height) * this.zoom / 2;
    this.x = Math.max(-side, Math.min(side, x));
    this.y = Math.max(-side, Math.min(side, y));
    if (this.zoom === 1) this.x = this.y = 0;
    this.draw();
  }

  windowBy(width, level) {
    this.width = Math.min(512, Math.max(8, this.width + width));
    this.level = Math.min(255, Math.max(0, this.level + level));
    this.draw();
  }

  drag(event) {
    activate(viewers.indexOf(this));
    this.canvas.setPointerCapture(event.pointerId);
    const move = (moved) => {
      if (moved.shiftKey || event.button === 1) this.moveTo(this.x + moved.movementX, this.y + moved.movementY);
      else this.windowBy(moved.movementX, moved.movementY);
    };
    this.canvas.addEventListener("pointermove", move);
    const stop = () => this.canvas.removeEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", stop, { once: true });
    this.canvas.addEventListener("pointercancel", stop, { once: true });
  }
}

function activate(index) {
  active = index;
  viewers.forEach((viewer, i) => viewer.figure.classList.toggle("active", viewers.length > 1 && i === index));
}

const task = () => session.tasks[at.task];
const rated = (one) => one.items.filter((item) => item.id in session.ratings).length;

function status(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function showIntro(index) {
  at = { task: index, item: Math.max(0, session.tasks[index].items.findIndex((item) => !(item.id in session.ratings))) };
  const one = task(), done = rated(one);
  $("intro-number").textContent = `Task ${index + 1} of ${session.tasks.length}`;
  $("intro-title").textContent = one.title;
  $("intro-question").textContent = one.question;
  $("intro-low").textContent = one.low;
  $("intro-last").textContent = $("help-last").textContent = session.labels.length;
  $("intro-high").textContent = one.high;
  $("intro-note").textContent = done ? `${done} of ${one.items.length} are rated; you go on where you stopped.` : `${one.items.length} items.`;
  show("intro");
  $("intro-start").focus();
}

function showItem() {
  const one = task(), item = one.items[at.item];
  show("reading");
  $("tasks").replaceChildren(...session.tasks.map((other, index) => {
    const button = make("button", `${index + 1}  ${other.title}`);
    button.append(make("span", `${rated(other)}/${other.items.length}`));
    if (index === at.task) button.setAttribute("aria-current", "true");
    button.onclick = () => showIntro(index);
    return button;
  }));
  for (const viewer of viewers) viewer.resized.disconnect();
  viewers = [];
  $("parts").replaceChildren(...item.parts.map((part) => {
    if ("text" in part) {
      const article = make("article", null, { tabindex: "0" });
      article.append(make("h2", part.label), make("p", part.text));
      return article;
    }
    viewers.push(new Viewer(part));
    return viewers[viewers.length - 1].figure;
  }));
  $("parts").dataset.item = item.id;
  activate(0);
  showRating();
  shownAt = performance.now();
}

function showRating() {
  const one = task(), score = session.ratings[one.items[at.item].id];
  $("question").textContent = one.question;
  $("dots").replaceChildren(...one.items.map((item, index) => {
    const button = make("button", String(index + 1), { tabindex: "-1", "aria-label": `item ${index + 1}${item.id in session.ratings ? ", rated" : ""}` });
    button.classList.toggle("rated", item.id in session.ratings);
    if (index === at.item) button.setAttribute("aria-current", "true");
    button.onclick = () => { at.item = index; status(""); showItem(); };
    return button;
  }));
  const buttons = session.labels.map((label, index) => {
    const value = index + 1, button = make("button", label, { role: "radio", "aria-checked": String(score === value) });
    button.onclick = () => rate(value);
    return button;
  });
  const numbered = session.labels.every((label) => label.length === 1);
  $("scores").classList.toggle("words", !numbered);
  $("scores").replaceChildren(...(numbered ? [make("span", one.low), ...buttons, make("span", one.high)] : buttons));
}

async function rate(score) {
  if (saving) return;
  saving = true;
  const one = task(), item = one.items[at.item];
  try {
    await call("/api/ratings", { item: item.id, score, seconds: (performance.now() - shownAt) / 1000 });
  } catch (error) {
    status(`Not saved: ${error.message}. Please rate this item again.`, true);
    return;
  } finally {
    saving = false;
  }
  session.ratings[item.id] = score;
  status(`Item ${at.item + 1}: ${score}, saved`);
  goOn();
}

// To the next item of the task without a rating, else to the next task with one, else to the end.
function goOn() {
  const items = task().items, order = items.map((_, index) => (at.item + 1 + index) % items.length);
  const next = order.find((index) => !(items[index].id in session.ratings));
  if (next !== undefined) {
    at.item = next;
    showItem();
    return;
  }
  const open = session.tasks.findIndex((one) => rated(one) < one.items.length);
  if (open >= 0) showIntro(open);
  else showDone();
}

function showDone() {
  $("done-tasks").replaceChildren(...session.tasks.map((one, index) => {
    const line = make("li", null), button = make("button", `${one.title}: ${rated(one)} of ${one.items.length}`, { class: "quiet" });
    button.onclick = () => { at = { task: index, item: 0 }; showItem(); };
    line.append(button);
    return line;
  }));
  show("done");
}

function step(by) {
  const next = at.item + by;
  if (next < 0 || next >= task().items.length) return;
  at.item = next;
  status("");
  showItem();
}

async function signIn(code) {
  reader = code.trim().toUpperCase();
  try {
    session = await call("/api/session");
  } catch (error) {
    $("sign-in-error").textContent = error.message;
    show("sign-in");
    $("code").focus();
    return;
  }
  const open = session.tasks.findIndex((one) => rated(one) < one.items.length);
  if (open >= 0) showIntro(open);
  else showDone();
}

const MOVES = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] };
const KEYS = {
  "+": (viewer) => viewer.zoomBy(1.25), "=": (viewer) => viewer.zoomBy(1.25), "-": (viewer) => viewer.zoomBy(0.8),
  "0": (viewer) => { viewer.reset(); viewer.draw(); }, "w": (viewer) => viewer.windowBy(-16, 0), "s": (viewer) => viewer.windowBy(16, 0),
  "e": (viewer) => viewer.windowBy(0, -8), "d": (viewer) => viewer.windowBy(0, 8),
  "i": (viewer) => { viewer.inverted = !viewer.inverted; viewer.draw(); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || $("reading").hidden || $("help").open) return;
  const key = event.key, viewer = viewers[active], move = MOVES[key];
  if (/^[1-9]$/.test(key) && Number(key) <= session.labels.length) { if (!event.repeat) rate(Number(key)); }
  else if (move && event.shiftKey) viewer?.moveTo(viewer.x - move[0], viewer.y - move[1]);
  else if (key === "ArrowLeft") step(-1);
  else if (key === "ArrowRight") step(1);
  else if (key === "?") $("help").showModal();
  else if (key.toLowerCase() === "v" && viewers.length) activate((active + 1) % viewers.length);
  else if (key.toLowerCase() in KEYS) { if (viewer) KEYS[key.toLowerCase()](viewer); }
  else return;
  event.preventDefault();
});

$("sign-in-form").addEventListener("submit", (event) => { event.preventDefault(); signIn($("code").value); });
$("intro-start").addEventListener("click", showItem);
$("help-open").addEventListener("click", () => $("help").showModal());
// The code may stand after # in the address, which browsers do not send: a bookmark then goes on where one stopped.
if (location.hash.length > 1) signIn(decodeURIComponent(location.hash.slice(1)));
else { show("sign-in"); $("code").focus(); }
