"""The pages' own look, where the theme does not reach."""

import streamlit as st

# The sketch and the chart share one place: the chart hides the sketch when it has been drawn.
STYLE = """<style>
.st-key-stage { position: relative; min-height: 720px; }
.st-key-sketch { position: absolute; inset: 44px 0 auto 0; z-index: 0; pointer-events: none; }
.st-key-sketch img { width: 100%; max-height: 420px; object-fit: contain; object-position: left top; display: block; }
.st-key-stage:has(.js-plotly-plot .main-svg) .st-key-sketch { visibility: hidden; }
.st-key-verdict, .st-key-verdict-way, .st-key-why { max-width: 46rem; }
:is(.st-key-pictures, [class*="st-key-box-picks"]) button img { width: 40px; height: 40px; max-height: 40px; image-rendering: pixelated; }
:is(.st-key-pictures, [class*="st-key-box-picks"]) button { padding: 2px; height: auto; min-height: 0; border-radius: .4rem; }
:is(.st-key-pictures, [class*="st-key-box-picks"]) button > div { border-radius: .25rem; }
[class*="st-key-box-picks"] button[aria-pressed="true"] { box-shadow: 0 0 0 2px #D55E00; }
:is(.st-key-pictures, [class*="st-key-box-picks"]) [data-testid="stButtonGroup"] { max-height: 15.5rem; overflow-y: auto; padding: 3px; margin: -3px; }
.st-key-history { display: none; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; }
.tiles.small img { height: 84px; }
.tiles figure { margin: 0; max-width: 240px; }
.tiles img { height: 128px; max-width: 100%; image-rendering: pixelated; border-radius: .25rem; display: block; }
.tiles figcaption { font-size: .8rem; opacity: .8; max-width: 128px; white-space: pre-line; }
.st-key-clump .tiles { gap: .4rem; }
.st-key-clump .tiles.small img { height: 56px; }
.st-key-clump .tiles figcaption { max-width: 64px; font-size: .72rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.bars { display: grid; gap: .15rem; max-width: 420px; margin-bottom: .5rem; }
.bar { display: grid; grid-template-columns: 8rem 1fr 2.5rem; gap: .5rem; align-items: center; font-size: .85rem; }
.bar span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.bar i { height: .6rem; background: #0072B2; border-radius: 2px; display: block; }
.bar b { font-weight: 600; text-align: right; }
[class*="st-key-wide-"] { overflow-x: auto; }
[class*="st-key-wide-"] > div { min-width: 640px; }
.facts { border-collapse: collapse; font-size: .85rem; width: 100%; }
.facts :is(th, td) { padding: .3rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid rgba(128, 128, 128, .3); }
.facts tbody th { font-weight: 600; }
.facts td { min-width: 7rem; overflow-wrap: anywhere; }
.st-key-facts { overflow-x: auto; }
@media (min-width: 640px) { .facts tbody th { white-space: nowrap; } }
.facts .unlike { background: repeating-linear-gradient(45deg, transparent 0 7px, rgba(128, 128, 128, .28) 7px 9px); }
.st-key-strip img { image-rendering: pixelated; max-height: 180px; object-fit: contain; object-position: left; }
[data-testid="stBaseButton-primary"]:enabled * { color: light-dark(#fff, #10222e); }
[data-variant][data-selected="true"]:hover * { color: light-dark(#00517f, #8ccdf3); }
[data-testid="stMultiSelect"] [data-tag] { background: rgba(128, 128, 128, .22); }
[data-testid="stMultiSelect"] [data-tag], [data-testid="stMultiSelect"] [data-tag] * { color: inherit; }
[data-testid="stCaptionContainer"] { opacity: .8; }
[data-testid="stMain"]:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }
.stMainBlockContainer { padding-top: 3.5rem; }
[class*="st-key-block-"] [data-testid="stButtonGroup"] button {
  min-height: 0; padding-block: .1rem; flex: 1 1 100%; justify-content: flex-start; }
@media (prefers-reduced-motion: reduce) { *, ::before, ::after { animation: none !important; transition: none !important; } }
@media (max-width: 640px) { h1 { font-size: 1.7rem !important; } }
</style>"""


def put() -> None:
    """Put the style on the page, last of all."""
    st.html(STYLE)
