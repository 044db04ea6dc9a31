"""An image to paint classes on, with pen, finger or keyboard."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import streamlit as st

from analysis import panels
from analysis.label_images import LETTERS, VOID
from analysis.segment_panels import COLOURS

RUNS = re.compile(r"(\d+(x\d+)?(,\d+(x\d+)?)*)?")

HTML = """<div class="paint">
<div class="row classes" role="radiogroup" aria-label="Class to paint"></div>
<canvas tabindex="0" role="application"></canvas>
<div class="row">
<label>Brush <input class="brush" type="range" min="1" step="1"><output></output></label>
<button class="undo" type="button">Undo</button><button class="clear" type="button">Clear</button></div>
<p aria-live="polite"></p></div>"""

CSS = """.paint { font-family: var(--st-font); color: var(--st-text-color); max-width: 480px; }
[role=application] { touch-action: none; cursor: crosshair; border-radius: .5rem; border: 1px solid var(--st-border-color);
  display: block; width: 100%; aspect-ratio: 1; box-sizing: border-box; }
[role=application]:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.row { display: flex; flex-wrap: wrap; gap: .4rem; margin: .4rem 0; align-items: center; }
button { font: inherit; font-size: .9rem; padding: .3rem .65rem; border-radius: .5rem; border: 1px solid var(--st-border-color);
  background: var(--st-background-color); color: inherit; cursor: pointer; display: inline-flex; gap: .4rem; align-items: center; min-height: 2.2rem;
  max-width: 100%; overflow-wrap: anywhere; text-align: left; }
button[aria-checked=true] { box-shadow: 0 0 0 2px var(--st-text-color); font-weight: 600; }
button canvas { width: 20px; height: 20px; border-radius: 3px; flex: none; }
label { display: inline-flex; gap: .4rem; align-items: center; font-size: .9rem; }
input { width: 7rem; }
output { min-width: 3.6em; }
p { font-size: .85rem; margin: .2rem 0 0; min-height: 1.3em; }"""

JS = """
const lined = [  // the same lines on the screen as in saved pictures: of a class, in pixels of the screen
  () => false, (x, y) => (x + y) % 8 < 2, (x, y) => x % 6 < 2 && y % 6 < 2, (x, y) => y % 6 < 2,
  (x, y) => x % 6 < 2, (x, y) => (x - y + 8000) % 8 < 2 || (x + y) % 8 < 2, (x, y) => (Math.floor(x / 4) + Math.floor(y / 4)) % 2 === 0];
const inked = (context, side, classOf, classes) => {
  const frame = context.getImageData(0, 0, side, side), d = frame.data;
  const inks = classes.map(one => [1, 3, 5].map(at => parseInt(one.colour.slice(at, at + 2), 16)));
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
    const k = classOf(x, y); if (k < 0 || !inks[k]) continue;
    const i = 4 * (y * side + x), white = lined[k](x, y);
    for (let c = 0; c < 3; c++) { const v = .25 * d[i + c] + .75 * inks[k][c]; d[i + c] = white ? .3 * v + .7 * 255 : v; }
    d[i + 3] = 255;
  }
  context.putImageData(frame, 0, 0);
};
const runs = cells => { const out = []; for (let i = 0; i < cells.length;) { let j = i; while (j < cells.length && cells[j] === cells[i]) j++;
  out.push(j - i > 1 ? cells[i] + 'x' + (j - i) : '' + cells[i]); i = j; } return out.join(','); };
const unrun = (text, cells) => { let i = 0; cells.fill(0); if (text) for (const part of text.split(',')) { const [value, count] = part.split('x');
  cells.fill(+value, i, i + (+count || 1)); i += +count || 1; } };

export default function ({ parentElement, data, setStateValue }) {
  const canvas = parentElement.querySelector('[role=application]'), said = parentElement.querySelector('p');
  const row = parentElement.querySelector('.classes'), brush = parentElement.querySelector('.brush');
  let my = canvas.mine;
  const first = !my;
  if (first) my = canvas.mine = { version: null, image: new Image(), chosen: 1, pen: null, down: false, keyed: false, last: null, moved: false };
  my.data = data; my.send = setStateValue;  // kept: a page that is drawn anew in that moment loses nothing
  const N = data.side, scale = Math.max(1, Math.floor(512 / N)), context = canvas.getContext('2d', { willReadFrequently: true });

  const at = (x, y) => y * N + x;
  const draw = () => {
    context.imageSmoothingEnabled = false;
    context.drawImage(my.image, 0, 0, canvas.width, canvas.height);
    inked(context, N * scale, (x, y) => my.cells[at(Math.floor(x / scale), Math.floor(y / scale))] - 1, my.data.classes);
    if (my.keyed) { context.lineWidth = 3; for (const [colour, more] of [['#000', 2], ['#fff', 0]]) { context.strokeStyle = colour;
      context.setLineDash(my.down ? [] : [6, 4]); const edge = my.size * scale + 2 * more, [x, y] = my.pen;
      context.strokeRect((x + .5 - my.size / 2) * scale - more, (y + .5 - my.size / 2) * scale - more, edge, edge); } context.setLineDash([]); }
  };
  const stamp = (x, y) => {  // the cells whose middles the brush covers
    const r = my.size / 2, low = v => Math.max(0, Math.ceil(v - r - .5)), high = v => Math.min(N - 1, Math.floor(v + r - .5));
    for (let v = low(y); v <= high(y); v++) for (let u = low(x); u <= high(x); u++)
      if (my.size < 3 || Math.hypot(u + .5 - x, v + .5 - y) <= r) { if (my.cells[at(u, v)] !== my.chosen) my.moved = true; my.cells[at(u, v)] = my.chosen; } };
  const line = (from, to) => { const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2) || 1;
    for (let i = 0; i <= steps; i++) stamp(from[0] + (to[0] - from[0]) * i / steps, from[1] + (to[1] - from[1]) * i / steps); };
  const begin = () => { my.before = my.cells.slice(); my.moved = false; };
  const end = () => { if (!my.moved) return; my.past.push(my.before); if (my.past.length > 50) my.past.shift(); my.moved = false; tell(); };
  const tell = () => { const text = runs(my.cells); my.send('strokes', { of: my.data.of, version: my.data.version, runs: text }); };
  const where = event => { const box = canvas.getBoundingClientRect(); return [(event.clientX - box.left) / box.width * N, (event.clientY - box.top) / box.height * N]; };
  const lift = () => { if (my.down) { my.down = false; end(); } };
  const name = () => my.chosen ? my.data.classes[my.chosen - 1].letter + ', ' + my.data.classes[my.chosen - 1].name : 'the eraser';
  const choose = (k, say) => { my.chosen = k; [...row.children].forEach(button => { const on = +button.value === k; button.setAttribute('aria-checked', on); button.tabIndex = on ? 0 : -1; });
    if (say) said.textContent = 'Painting with ' + name() + '.'; };
  my.acts = { draw, stamp, line, begin, end, tell, where, lift, choose, name };

  const wanted = JSON.stringify(data.classes);
  if (my.classes !== wanted) {
    my.classes = wanted;
    const focused = row.contains(parentElement.activeElement);
    row.replaceChildren(...[...data.classes, { letter: '', name: 'Eraser' }].map((one, i) => {
      const button = document.createElement('button'), k = i < data.classes.length ? i + 1 : 0;
      button.type = 'button'; button.value = k; button.setAttribute('role', 'radio');
      if (k) { const swatch = document.createElement('canvas'); swatch.width = swatch.height = 20; swatch.setAttribute('aria-hidden', 'true');
        const ground = swatch.getContext('2d'); ground.fillStyle = '#fff'; ground.fillRect(0, 0, 20, 20); inked(ground, 20, () => i, data.classes); button.append(swatch); }
      button.append(k ? one.letter + ' ' + one.name : one.name);
      button.onclick = () => { my.acts.choose(k, true); };
      button.onkeydown = event => { const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]; if (!way) return; event.preventDefault();
        const all = [...row.children], next = all[(all.indexOf(button) + way + all.length) % all.length]; my.acts.choose(+next.value, true); next.focus(); };
      return button; }));
    if (my.chosen > data.classes.length) my.chosen = 1;
    choose(my.chosen, false);
    if (focused) row.querySelector('[aria-checked=true]')?.focus();
  }
  if (my.version !== data.version + data.of) {
    const other = my.of !== data.of;
    my.version = data.version + data.of; my.of = data.of;
    canvas.width = canvas.height = N * scale;
    my.cells = new Uint8Array(N * N); my.past = []; unrun(data.strokes, my.cells);
    my.pen = [Math.floor(N / 2), Math.floor(N / 2)]; my.down = my.keyed = false; my.last = null;
    brush.max = Math.max(2, Math.round(N / 5)); if (other) { my.size = Math.max(1, Math.round(N / 24)); brush.value = my.size; }
    canvas.setAttribute('aria-label', data.name + ': paint on it. Arrow keys move the brush, space puts it down and lifts it, the letters of the classes choose one, 0 the eraser, U takes back.');
    my.image.onload = draw; my.image.src = data.image;
    said.textContent = '';
  }
  const output = parentElement.querySelector('output'), size = () => { my.size = +brush.value; output.textContent = my.size + ' px'; };
  size();
  draw();
  if (!first) return;

  brush.addEventListener('input', () => { my.size = +brush.value; output.textContent = my.size + ' px'; my.acts.draw(); });
  canvas.addEventListener('pointerdown', event => { my.acts.lift(); my.keyed = false; canvas.setPointerCapture(event.pointerId); my.acts.begin(); my.last = my.acts.where(event); my.acts.line(my.last, my.last); my.acts.draw(); });
  canvas.addEventListener('pointermove', event => { if (my.last) { const next = my.acts.where(event); my.acts.line(my.last, next); my.last = next; my.acts.draw(); } });
  const up = () => { if (my.last) { my.last = null; my.acts.end(); } };
  canvas.addEventListener('pointerup', up); canvas.addEventListener('pointercancel', up);
  canvas.addEventListener('keydown', event => {
    const N = my.data.side, step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key], key = event.key.toLowerCase();
    const k = my.data.classes.findIndex(one => one.letter.toLowerCase() === key) + 1;
    if (event.ctrlKey || event.metaKey || event.altKey || !(step || event.key === ' ' || k || key === '0' || key === 'u')) return;
    event.preventDefault(); my.keyed = true;
    if (event.key === ' ') {
      if (my.down) { my.acts.lift(); said.textContent = 'The brush is lifted.'; }
      else { my.down = true; my.acts.begin(); said.textContent = 'The brush is down, with ' + my.acts.name() + '.'; }
    } else if (step) { const far = Math.max(1, Math.round(N / 64)); my.pen = my.pen.map((value, i) => Math.min(N - 1, Math.max(0, value + far * step[i]))); }
    else if (key === 'u') parentElement.querySelector('.undo').click();
    else { my.acts.lift(); my.acts.choose(k, true); }
    if (my.down) my.acts.stamp(my.pen[0] + .5, my.pen[1] + .5);
    my.acts.draw();
  });
  canvas.addEventListener('blur', () => { my.acts.lift(); my.keyed = false; my.acts.draw(); });
  parentElement.querySelector('.undo').addEventListener('click', () => { if (!my.past.length) { said.textContent = 'There is nothing to take back.'; return; }
    my.cells = my.past.pop(); said.textContent = 'The last stroke is taken back.'; my.acts.draw(); my.acts.tell(); });
  parentElement.querySelector('.clear').addEventListener('click', () => { my.acts.begin(); my.moved = my.cells.some(Boolean); my.cells.fill(0); said.textContent = 'Nothing is painted on it now.'; my.acts.draw(); my.acts.end(); });
}
"""

_board = st.components.v2.component("noisescope.painting", html=HTML, css=CSS, js=JS)


def painting(key: str, name: str, image: np.ndarray, labels: np.ndarray, classes: list[str], version: int) -> tuple[str, np.ndarray] | None:
    """Draw an image (side, side, 3) uint8 with its strokes: the key of the image that was painted on last, and its label image.

    Label images are (side, side) uint8, VOID where nothing is painted. Another `version` takes the strokes from `labels` again, and
    forgets what was painted before.
    """
    side = len(image)
    data: dict[str, Any] = {
        "of": key,
        "name": name,
        "side": side,
        "image": panels.uri(image, 1),
        "strokes": runs(labels),
        "version": version,
        "classes": [{"letter": LETTERS[k], "name": each, "colour": COLOURS[k]} for k, each in enumerate(classes)],
    }
    found = _board(key="painting", data=data, on_strokes_change=lambda: None).strokes
    if not isinstance(found, dict) or found.get("version") != version or (cells := unrun(str(found.get("runs", "")), side)) is None:
        return None
    return str(found.get("of", "")), cells


def runs(labels: np.ndarray) -> str:
    """A label image as the board takes it: values and how often each comes, 0 where nothing is painted, class k as k + 1."""
    cells = np.where(labels == VOID, 0, labels.astype(int) + 1).ravel()
    edges = np.flatnonzero(np.diff(cells)) + 1
    starts, ends = [0, *edges.tolist()], [*edges.tolist(), cells.size]
    return ",".join(f"{cells[start]}x{end - start}" for start, end in zip(starts, ends, strict=True))


def unrun(text: str, side: int) -> np.ndarray | None:
    """The label image (side, side) uint8 that the board gives; None for what is none."""
    if not text or RUNS.fullmatch(text) is None:
        return None
    parts = [part.partition("x") for part in text.split(",")]
    values, counts = np.array([int(value) for value, _, _ in parts]), [int(count or 1) for _, _, count in parts]
    if sum(counts) != side * side or values.max() > len(LETTERS):
        return None
    return np.repeat(np.where(values == 0, VOID, values - 1).astype(np.uint8), counts).reshape(side, side)
