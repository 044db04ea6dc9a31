"""The style and the script of the page that `map_export.page` writes: a map on a canvas, plain and without any library."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --back: #0e1117; --ink: #e6edf3; --soft: #9da7b3; --line: #30363d; --panel: #161b22; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 80rem; background: var(--back); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
.caption { margin: 0 0 1rem; max-width: 60rem; }
.note, th, output { color: var(--soft); font-size: .9rem; }
.tools { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin-bottom: .5rem; }
.tools output { flex: 1 1 10rem; min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
button, input[type=search] { font: inherit; font-size: .9rem; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: .3rem .7rem; }
input[type=search] { width: 15rem; max-width: 100%; background: var(--back); }
button { cursor: pointer; }
:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
.view { display: flex; gap: 1rem; align-items: flex-start; }
.plot { position: relative; flex: 1 1 auto; min-width: 0; height: min(72vh, 46rem); border: 1px solid var(--line); border-radius: 6px;
  overflow: hidden; }
canvas { width: 100%; height: 100%; display: block; cursor: crosshair; touch-action: none; }
.card { position: absolute; top: 0; left: 0; max-width: 16rem; padding: .5rem; background: var(--back); border: 1px solid var(--line);
  border-radius: 6px; box-shadow: 0 2px 10px rgb(0 0 0 / .25); font-size: .85rem; line-height: 1.4; pointer-events: none; }
.card img { display: block; width: 128px; height: 128px; object-fit: contain; object-position: left; image-rendering: pixelated;
  margin-bottom: .35rem; }
.card p { margin: 0; } .card p:first-of-type { font-weight: 600; } .card span { color: var(--soft); }
fieldset { flex: 0 0 15rem; min-width: 0; margin: 0; border: 0; padding: 0; }
legend { font-weight: 600; padding: 0; } fieldset button { padding: .1rem .6rem; }
ul { list-style: none; margin: .5rem 0 0; padding: 0; }
li label { display: flex; gap: .45rem; align-items: center; padding: .1rem; cursor: pointer; }
li svg, li input { flex: none; margin: 0; } li .name { flex: 1 1 auto; } li input:not(:checked) ~ * { opacity: .45; }
li .count { color: var(--soft); font-size: .9rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
table { border-collapse: collapse; margin-top: 1rem; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .15rem 1.25rem .15rem 0; font-weight: normal; }
@media (max-width: 48rem) { .view { flex-direction: column; } .plot { flex: none; width: 100%; height: min(60vh, 95vw); }
  fieldset { flex: none; width: 100%; } ul { columns: 2 9rem; } li { break-inside: avoid; }
  input[type=search], .tools output { flex: none; width: 100%; order: -1; } }
@media print { .tools, fieldset button { display: none; } }
"""

# Places are between 0 and 1 on the longer side, y upwards. `view` is what pixel = middle + zoom * fit * (place - centre) needs.
SCRIPT = """
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [plot, canvas, card] = [".plot", "canvas", ".card"].map((name) => document.querySelector(name));
const boxes = [...document.querySelectorAll("fieldset input")];
const search = document.querySelector("input[type=search]");
const found = document.querySelector("output");
const pen = canvas.getContext("2d");
const count = data.x.length;
const middle = [data.x, data.y].map((values) => values.reduce((most, value) => Math.max(most, value), 1e-9) / 2);
const view = { zoom: 1, x: middle[0], y: middle[1] };
const searched = data.fields.filter((field) => field.searched);
let [width, height, sprites, spriteKey] = [1, 1, [], ""];
let matches = null; // rows that the search found, or null without a search
let shown = -1; // the row on the card
let step = -1; // which match Enter came to
let waiting = false;

function fit() {
  return 0.46 * Math.min(width / middle[0], height / middle[1]);
}

function radius() {
  const small = count > 5000 ? 2.6 : count > 1000 ? 3.4 : 5;
  return Math.min(9, small * Math.pow(view.zoom, 0.3));
}

function place(row) { // in pixels of the canvas
  const scale = fit() * view.zoom;
  return [width / 2 + (data.x[row] - view.x) * scale, height / 2 - (data.y[row] - view.y) * scale];
}

const text = (field, row) => field.names[field.rows[row]];
const visible = (row) => boxes[data.group[row]].checked;
const colour = (name) => getComputedStyle(document.body).getPropertyValue(name);

function drawSprites() { // each group's marker, once: to copy it is faster than to draw it
  const [size, ratio, back] = [radius(), window.devicePixelRatio || 1, colour("--back")];
  const key = [size, ratio, back].join();
  if (key === spriteKey) return;
  spriteKey = key;
  sprites = data.groups.map((group) => {
    const sprite = document.createElement("canvas");
    sprite.width = sprite.height = Math.ceil((2.8 * size + 2) * ratio);
    const brush = sprite.getContext("2d");
    brush.translate(sprite.width / 2, sprite.height / 2);
    brush.scale(size * ratio, size * ratio);
    const outline = new Path2D("M0,0" + group.outline);
    [brush.fillStyle, brush.strokeStyle, brush.lineWidth] = [group.colour, back, 0.7 / size];
    brush.fill(outline);
    brush.stroke(outline);
    return sprite;
  });
}

function draw() {
  waiting = false;
  const ratio = window.devicePixelRatio || 1;
  drawSprites();
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  for (const dim of matches ? [true, false] : [false]) { // what was found lies on top
    pen.globalAlpha = dim ? 0.12 : 0.9;
    for (let row = 0; row < count; row++) {
      if (!visible(row) || (matches && matches.has(row) === dim)) continue;
      const [x, y] = place(row);
      const sprite = sprites[data.group[row]];
      const side = sprite.width / ratio;
      if (x > -side && y > -side && x < width + side && y < height + side) pen.drawImage(sprite, x - side / 2, y - side / 2, side, side);
    }
  }
  pen.globalAlpha = 1;
  if (shown < 0) return;
  pen.beginPath();
  pen.arc(...place(shown), radius() + 4, 0, 2 * Math.PI);
  [pen.strokeStyle, pen.lineWidth] = [colour("--ink"), 2];
  pen.stroke();
}

function redraw() {
  if (!waiting) requestAnimationFrame(draw);
  waiting = true;
}

function show(row) { // the card of a row, or none for -1
  shown = row;
  card.hidden = row < 0;
  redraw();
  if (row < 0) return;
  card.replaceChildren();
  if (data.pictures[row]) {
    const picture = document.createElement("img");
    [picture.src, picture.alt] = [data.pictures[row], ""];
    card.append(picture);
  }
  data.fields.forEach((field, index) => {
    const [line, name] = [document.createElement("p"), document.createElement("span")];
    name.textContent = index ? field.title + ": " : "";
    line.append(name, text(field, row));
    card.append(line);
  });
  const [x, y] = place(row);
  const [left, top] = [x + 14 + card.offsetWidth > width ? x - 14 - card.offsetWidth : x + 14, y + 14];
  card.style.left = Math.max(4, Math.min(left, width - card.offsetWidth - 4)) + "px";
  card.style.top = Math.max(4, Math.min(top, height - card.offsetHeight - 4)) + "px";
}

function nearest(x, y) { // the row whose marker is under a pixel or almost, else -1
  let [best, row] = [Math.pow(radius() + 5, 2), -1];
  for (let other = 0; other < count; other++) {
    if (!visible(other) || (matches && !matches.has(other))) continue;
    const at = place(other);
    const away = Math.pow(at[0] - x, 2) + Math.pow(at[1] - y, 2);
    if (away < best) [best, row] = [away, other];
  }
  return row;
}

function move(x, y) { // by pixels
  const scale = fit() * view.zoom;
  [view.x, view.y] = [view.x - x / scale, view.y + y / scale];
  show(-1);
}

function zoom(by, x = width / 2, y = height / 2) { // around a pixel, which stays where it is
  const to = Math.max(0.5, Math.min(200, view.zoom * by));
  const change = (1 / view.zoom - 1 / to) / fit();
  [view.x, view.y, view.zoom] = [view.x + (x - width / 2) * change, view.y - (y - height / 2) * change, to];
  show(-1);
}

function find() {
  const asked = search.value.trim().toLowerCase();
  const hits = (row) => searched.some((field) => text(field, row).toLowerCase().includes(asked));
  matches = asked ? new Set([...data.x.keys()].filter((row) => visible(row) && hits(row))) : null;
  const told = matches && matches.size ? ". Enter shows the next." : ".";
  found.textContent = matches ? matches.size.toLocaleString("en") + " of " + count.toLocaleString("en") + " images" + told : "";
  step = -1;
  show(-1);
}

function next() { // the next match, in the middle where it is out of sight
  if (!matches || !matches.size) return;
  step = (step + 1) % matches.size;
  const row = [...matches][step];
  const [x, y] = place(row);
  if (x < 0 || y < 0 || x > width || y > height) [view.x, view.y] = [data.x[row], data.y[row]];
  show(row);
  const words = data.fields.map((field) => field.title + " " + text(field, row)).join(", ");
  found.textContent = (step + 1).toLocaleString("en") + " of " + matches.size.toLocaleString("en") + ": " + words;
}

const fingers = new Map();
let dragged = 0;
const at = (event) => [event.offsetX, event.offsetY];
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, at(event));
  dragged = fingers.size > 1 ? 99 : 0;
});
canvas.addEventListener("pointermove", (event) => {
  const [from, to] = [fingers.get(event.pointerId), at(event)];
  if (!from && nearest(...to) !== shown) show(nearest(...to));
  if (!from) return;
  const other = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place)[0];
  const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
  dragged += Math.abs(to[0] - from[0]) + Math.abs(to[1] - from[1]);
  if (other) zoom(apart(to) / Math.max(1, apart(from)), ...other);
  else if (dragged > 4) move(to[0] - from[0], to[1] - from[1]);
  fingers.set(event.pointerId, to);
});
canvas.addEventListener("pointerup", (event) => {
  fingers.delete(event.pointerId);
  if (dragged <= 4) show(nearest(...at(event)));
});
canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(-1));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-0.0015 * event.deltaY * (event.deltaMode ? 30 : 1)), ...at(event));
}, { passive: false });
search.addEventListener("input", find);
search.addEventListener("keydown", (event) => event.key === "Enter" && next());
boxes.forEach((box) => box.addEventListener("change", find));
const press = (name, then) => document.getElementById(name).addEventListener("click", then);
const check = (all) => { boxes.forEach((box) => { box.checked = all; }); find(); };
press("all", () => check(true));
press("none", () => check(false));
press("closer", () => zoom(1.5));
press("further", () => zoom(1 / 1.5));
press("whole", () => { Object.assign(view, { zoom: 1, x: middle[0], y: middle[1] }); show(-1); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(() => {
  const ratio = window.devicePixelRatio || 1;
  [width, height] = [plot.clientWidth, plot.clientHeight];
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  show(-1);
}).observe(plot);
"""
