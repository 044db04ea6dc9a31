"""A square to draw in, with pen, finger or keyboard."""

from __future__ import annotations

import numpy as np
import streamlit as st
from PIL import Image

GRID = 32  # cells a side

HTML = """<div class="draw">
<canvas width="256" height="256" tabindex="0" role="application"
  aria-label="A square to draw in. Arrow keys move the pen, space puts it down and lifts it."></canvas>
<div class="row"><button class="use" type="button">Use this drawing</button><button class="clear" type="button">Clear</button></div>
<p aria-live="polite"></p></div>"""

CSS = """.draw { font-family: var(--st-font); color: var(--st-text-color); }
canvas { touch-action: none; cursor: crosshair; border-radius: .5rem; border: 1px solid var(--st-border-color); display: block; max-width: 100%; }
canvas:focus-visible, button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.row { display: flex; gap: .5rem; margin-top: .5rem; }
button { font: inherit; padding: .35rem .75rem; border-radius: .5rem; border: 1px solid var(--st-border-color);
  background: var(--st-background-color); color: inherit; cursor: pointer; }
p { font-size: .85rem; margin: .4rem 0 0; min-height: 1.2em; }"""

JS = """
export default function ({ parentElement, setTriggerValue }) {
  const canvas = parentElement.querySelector('canvas');
  if (canvas.ready) return;
  canvas.ready = true;
  const N = 32, size = canvas.width / N, context = canvas.getContext('2d'), said = parentElement.querySelector('p');
  const cells = new Uint8Array(N * N);
  let pen = [16, 16], down = false, keyed = false, last = null;
  const draw = () => {
    context.fillStyle = '#000'; context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = '#fff';
    cells.forEach((on, i) => { if (on) context.fillRect((i % N) * size, Math.floor(i / N) * size, size, size); });
    if (keyed) { context.strokeStyle = down ? '#E69F00' : '#56B4E9'; context.lineWidth = 2; context.strokeRect(pen[0] * size - 4, pen[1] * size - 4, 16, 16); }
  };
  const stamp = (x, y) => {
    for (let v = -2; v <= 2; v++) for (let u = -2; u <= 2; u++) {
      const a = Math.round(x) + u, b = Math.round(y) + v;
      if (u * u + v * v <= 3 && a >= 0 && b >= 0 && a < N && b < N) cells[b * N + a] = 1;
    }
  };
  const at = event => { const box = canvas.getBoundingClientRect(); return [(event.clientX - box.left) / box.width * N, (event.clientY - box.top) / box.height * N]; };
  const line = (from, to) => { const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2) || 1;
    for (let i = 0; i <= steps; i++) stamp(from[0] + (to[0] - from[0]) * i / steps, from[1] + (to[1] - from[1]) * i / steps); };
  canvas.addEventListener('pointerdown', event => { keyed = false; canvas.setPointerCapture(event.pointerId); last = at(event); line(last, last); draw(); });
  canvas.addEventListener('pointermove', event => { if (last) { const next = at(event); line(last, next); last = next; draw(); } });
  canvas.addEventListener('pointerup', () => { last = null; });
  canvas.addEventListener('pointercancel', () => { last = null; });
  canvas.addEventListener('keydown', event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && event.key !== ' ') return;
    event.preventDefault(); keyed = true;
    if (event.key === ' ') { down = !down; said.textContent = down ? 'The pen is down.' : 'The pen is up.'; }
    else pen = pen.map((value, i) => Math.min(N - 1, Math.max(0, value + step[i])));
    if (down) stamp(pen[0], pen[1]);
    draw();
  });
  canvas.addEventListener('blur', () => { keyed = false; draw(); });
  parentElement.querySelector('.clear').addEventListener('click', () => { cells.fill(0); said.textContent = 'It is empty.'; draw(); });
  parentElement.querySelector('.use').addEventListener('click', () => {
    if (!cells.some(on => on)) { said.textContent = 'Draw something first.'; return; }
    said.textContent = ''; setTriggerValue('drawn', cells.join(''));
  });
  draw();
}
"""

_square = st.components.v2.component("noisescope.canvas", html=HTML, css=CSS, js=JS)


def canvas() -> str | None:
    """The cells of a drawing, 32 × 32 characters 0 or 1, once, when a person has pressed Use."""
    return _square(key="canvas", on_drawn_change=lambda: None).drawn


def picture(cells: str, side: int) -> np.ndarray | None:
    """A drawing as the digits' scans were made: moved and scaled to fill the square, then averaged; (side, side, 3) uint8.

    None for an empty one, or for what is no drawing.
    """
    if len(cells) != GRID * GRID or set(cells) != {"0", "1"}:
        return None
    bits = np.frombuffer(cells.encode(), np.uint8).reshape(GRID, GRID) == ord("1")
    rows, columns = np.flatnonzero(bits.any(1)), np.flatnonzero(bits.any(0))
    ink = Image.fromarray(bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8) * 255)
    scale = GRID / max(ink.size)
    ink = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.BILINEAR)
    page = Image.new("L", (GRID, GRID))
    page.paste(ink, ((GRID - ink.width) // 2, (GRID - ink.height) // 2))
    grey = np.asarray(page.resize((side, side), Image.Resampling.BOX))
    return np.repeat(grey[..., None], 3, axis=-1)
