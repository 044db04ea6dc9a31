"""Images side by side in the browser: a point is chosen in the first, its heat maps and matches are drawn on all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import streamlit as st

HTML = """<div class="points"><figure class="a"></figure><div class="others"></div></div>
<div class="below">
<div class="scale"><span class="from"></span><canvas width="256" height="1" aria-hidden="true"></canvas><span class="to"></span></div>
<label>Heat maps <input class="strength" type="range" min="0" max="100" value="55" aria-label="How strongly heat maps cover the images"></label>
<label class="hovering"><input type="checkbox" class="hover" checked> Hover shows what a token resembles</label>
<label class="marking"><input type="checkbox" class="marks" checked> Mark corner and high-norm tokens</label>
</div>
<p class="legend"></p>
<p class="said" aria-live="polite"></p>"""

CSS = """:host, .points, .below, p { font-family: var(--st-font); color: var(--st-text-color); }
.points { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.a { flex: 0 1 26rem; min-width: min(100%, 16rem); }
.others { flex: 1 1 18rem; display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 9.5rem), 1fr)); gap: .75rem; }
figure { margin: 0; }
.others figure { max-width: 15rem; }
figcaption { font-size: .82rem; margin-top: .25rem; overflow-wrap: anywhere; }
.stack { position: relative; aspect-ratio: 1; border-radius: .25rem; overflow: hidden; }
.stack > * { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.stack img, .stack canvas { image-rendering: pixelated; }
.a .stack { cursor: crosshair; touch-action: manipulation; }
.a .stack:focus-visible, input:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.heat, .token { pointer-events: none; }
svg { pointer-events: none; overflow: visible; }
.stack svg { overflow: hidden; }
svg * { vector-effect: non-scaling-stroke; fill: none; }
.under { stroke: #000; stroke-width: 4.5px; opacity: .75; }
.cross { stroke: #fff; stroke-width: 2px; }
.ring { stroke: #FF8A3D; stroke-width: 2.5px; }
.high { stroke: #E69F00; stroke-width: 2px; }
.corner { stroke: #7CC8F2; stroke-width: 2px; }
svg text { fill: #fff; stroke: #000; stroke-width: 3px; paint-order: stroke; font-weight: 600; }
.below { display: flex; flex-wrap: wrap; gap: .4rem 1.25rem; align-items: center; font-size: .82rem; margin-top: .6rem; }
.scale { display: flex; gap: .4rem; align-items: center; }
.scale canvas { width: 7rem; height: .6rem; border-radius: 2px; }
input[type=range] { width: 6rem; vertical-align: middle; accent-color: var(--st-primary-color); }
input[type=checkbox] { vertical-align: middle; accent-color: var(--st-primary-color); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.25rem; font-size: .82rem; margin: .4rem 0 0; }
.legend span { display: inline-flex; gap: .35rem; align-items: center; }
.legend svg { width: 16px; height: 16px; background: #667; border-radius: 2px; }
.said { font-size: .85rem; margin: .4rem 0 0; min-height: 1.3em; }
[hidden] { display: none !important; }"""

JS = """
const SVG = 'http://www.w3.org/2000/svg', WAIT = 600;
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const make = (tag, name) => { const found = document.createElement(tag); found.className = name; return found; };
const shape = (parent, tag, settings, names) => names.forEach(name => {  // a dark line under a light one is seen on any image
  const found = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(settings)) found.setAttribute(key, value);
  found.setAttribute('class', name); parent.append(found);
});
const frame = figure => {
  const stack = make('div', 'stack'), svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  stack.append(make('img', 'pic'), make('img', 'heat'), svg); stack.querySelector('.heat').alt = '';
  figure.replaceChildren(stack, make('figcaption', ''));
  return figure;
};
const corner = (left, top, wide, tall, right, low) => {  // an angle at a token's outer corner
  const x = right ? left + wide : left, y = low ? top + tall : top, u = right ? -wide / 2 : wide / 2, v = low ? -tall / 2 : tall / 2;
  return `M ${x + u} ${y} H ${x} V ${y + v}`;
};

export default function ({ parentElement, data, setTriggerValue }) {
  const find = name => parentElement.querySelector(name), root = find('.points'), said = find('.said'), a = find('.a');
  if (!root.ready) {
    frame(a); root.ready = true;
    const stack = a.querySelector('.stack');
    stack.insertBefore(make('canvas', 'token'), stack.querySelector('svg'));
    stack.tabIndex = 0; stack.setAttribute('role', 'application');
    const at = event => { const box = stack.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map(share => share * root.data.side); };
    const send = () => { clearTimeout(root.timer); root.timer = null;
      if (root.cross.every((value, i) => value === root.data.point[i])) return;
      said.textContent = 'Looking for its matches …'; root.send('point', root.cross); };
    const move = point => { root.cross = point.map(value => Math.round(10 * Math.min(root.data.side, Math.max(0, value))) / 10); root.marked(); };
    stack.addEventListener('click', event => { move(at(event)); root.held = root.index(at(event)); root.token(null); send(); });
    stack.addEventListener('pointermove', event => { if (event.pointerType === 'mouse') root.token(at(event)); });
    stack.addEventListener('pointerleave', () => root.token(null));
    stack.addEventListener('keydown', event => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way && event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      if (!way) { send(); return; }
      const step = Math.max(1, root.data.side / 64) * (event.shiftKey ? 4 : 1);
      move(root.cross.map((value, i) => value + step * way[i])); root.token(root.cross);
      clearTimeout(root.timer); root.timer = setTimeout(send, WAIT);
    });
    find('.strength').addEventListener('input', () => root.strength());
    find('.marks').addEventListener('change', () => root.marked());
  }
  const { side, tokens } = data;
  root.data = data; root.send = setTriggerValue;
  if (root.timer == null) root.cross = [...data.point];
  const similar = tokens && tokens.similarity ? bytes(tokens.similarity) : null, ramp = bytes(data.ramp);
  root.strength = () => parentElement.querySelectorAll('.heat, .token').forEach(one => { one.style.opacity = find('.strength').value / 100; });
  const scale = (low, high, more) => { find('.scale').hidden = low == null; if (low == null) return;
    find(".from").textContent = `cosine ${low.toFixed(2)}`; find(".to").textContent = high.toFixed(2) + (more ? " or more" : ""); };
  const heated = () => scale(data.low, data.high, data.others.length);

  const bar = find('.scale canvas').getContext('2d'), line = bar.createImageData(256, 1);
  for (let i = 0; i < 256; i++) line.data.set([ramp[3 * i], ramp[3 * i + 1], ramp[3 * i + 2], 255], 4 * i);
  bar.putImageData(line, 0, 0);

  const fill = (figure, image, words) => {
    const pic = figure.querySelector('.pic'), heat = figure.querySelector('.heat');
    if (pic.src !== image.uri) pic.src = image.uri;
    pic.alt = words; heat.hidden = !image.heat;
    if (image.heat && heat.src !== image.heat) heat.src = image.heat;
    figure.querySelector('svg').setAttribute('viewBox', `0 0 ${side} ${side}`);
    figure.querySelector('figcaption').textContent = words;
  };
  const others = find('.others');
  while (others.children.length > data.others.length) others.lastChild.remove();
  while (others.children.length < data.others.length) others.append(frame(make('figure', '')));
  data.others.forEach((image, i) => {
    const figure = others.children[i], svg = figure.querySelector('svg');
    fill(figure, image, image.words); svg.replaceChildren();
    if (!image.place) return;
    const [x, y] = image.place;
    shape(svg, 'circle', { cx: x, cy: y, r: side / 22 }, ['under', 'ring']);
    const right = x > .7 * side;
    shape(svg, 'text', { x: x + (right ? -1 : 1) * side / 15, y: Math.min(side * .97, Math.max(side * .08, y + side / 40)),
      'font-size': side / 12, 'text-anchor': right ? 'end' : 'start' }, ['']);
    svg.lastChild.textContent = image.similarity.toFixed(2);
  });
  fill(a, data.a, data.a.words);
  a.querySelector('.stack').setAttribute('aria-label',
    `${data.a.words} A point is chosen by a click, or with the arrow keys, with Shift in larger steps.`);

  root.marked = () => {
    const svg = a.querySelector('svg'), [x, y] = root.cross, gap = side / 40, arm = side / 14, wanted = find('.marks').checked;
    svg.replaceChildren();
    if (tokens && wanted) {
      const wide = side / tokens.w, tall = side / tokens.h, inset = Math.min(wide, tall) / 8;
      tokens.high.forEach(([row, column]) => shape(svg, 'path', { d:
        `M ${column * wide + inset} ${row * tall + inset} h ${wide - 2 * inset} v ${tall - 2 * inset} h ${2 * inset - wide} Z l ${wide - 2 * inset} ${tall - 2 * inset}` },
        ['under', 'high']));
      for (const [row, column] of [[0, 0], [0, 1], [1, 0], [1, 1]]) shape(svg, 'path', { d:
        corner(column * (tokens.w - 1) * wide + inset, row * (tokens.h - 1) * tall + inset, wide - 2 * inset, tall - 2 * inset, column, row) }, ['under', 'corner']);
    }
    const d = `M ${x - arm} ${y} H ${x - gap} M ${x + gap} ${y} H ${x + arm} M ${x} ${y - arm} V ${y - gap} M ${x} ${y + gap} V ${y + arm}`;
    shape(svg, 'path', { d }, ['under', 'cross']);
    find('.legend').hidden = !tokens || !wanted;
  };
  root.index = ([x, y]) => tokens ? Math.min(tokens.h - 1, Math.floor(y / side * tokens.h)) * tokens.w + Math.min(tokens.w - 1, Math.floor(x / side * tokens.w)) : null;
  root.token = point => {
    const canvas = a.querySelector('.token'), heat = a.querySelector('.heat');
    if (point && root.index(point) !== root.held) root.held = null;  // after a click its heat map stays until another token is reached
    const shown = point && similar && find('.hover').checked && root.held == null;
    canvas.hidden = !shown; heat.hidden = shown || !data.a.heat;
    if (!shown) { heated(); if (root.timer == null) said.textContent = ''; return; }
    const token = root.index(point), column = token % tokens.w, row = (token - column) / tokens.w, count = tokens.w * tokens.h;
    canvas.width = tokens.w; canvas.height = tokens.h;
    const context = canvas.getContext('2d'), picture = context.createImageData(tokens.w, tokens.h);
    for (let i = 0; i < count; i++) {
      const value = 3 * similar[token * count + i];
      picture.data.set([ramp[value], ramp[value + 1], ramp[value + 2], 255], 4 * i);
    }
    context.putImageData(picture, 0, 0); scale(tokens.lowest, 1);
    const high = tokens.high.some(([v, u]) => v === row && u === column);
    said.textContent = `Token ${row + 1}, ${column + 1} (row, column): its norm is ${tokens.norm[token].toFixed(2)} times the median${high ? ', far above the rest' : ''}.`;
  };
  const legend = find('.legend');
  legend.replaceChildren(...[['high', 'M 3 3 h 10 v 10 h -10 Z l 10 10', 'a token with a norm far above the rest'], ['corner', 'M 8 3 H 3 V 8', 'a corner token']]
    .filter(([name]) => name === 'corner' || tokens && tokens.high.length).map(([name, d, words]) => {
    const item = make('span', ''), svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 16 16'); svg.setAttribute('aria-hidden', 'true'); shape(svg, 'path', { d }, ['under', name]); item.append(svg, words); return item;
  }));
  find('.hovering').hidden = !similar; find('.marking').hidden = !tokens;
  root.strength(); root.marked();
  if (root.timer == null) root.token(null);
}
"""

_images = st.components.v2.component("noisescope.pointing", html=HTML, css=CSS, js=JS)


def pointing(data: dict[str, Any], chosen: Callable[[float, float], Any]) -> None:
    """Draw them; `chosen` is told of a new point (x, y), in pixels of the image, before the page is drawn again.

    `data` is of points.py.
    """

    def told() -> None:
        given = st.session_state["pointing"].point
        if isinstance(given, list) and len(given) == 2 and all(isinstance(part, int | float) and math.isfinite(part) for part in given):
            chosen(float(given[0]), float(given[1]))

    _images(key="pointing", data=data, on_point_change=told)
