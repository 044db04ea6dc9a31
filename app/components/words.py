"""Times and sizes as a person reads them."""

from __future__ import annotations

import re
import time


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it."""
    if seconds is None:
        return "an unknown time"
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"


def ago(when: float) -> str:
    """How long ago, in words; `when` in seconds since 1970."""
    return f"{duration(max(0.0, time.time() - when))} ago"


def size(count: float | None) -> str:
    """Bytes in the unit that suits them."""
    if count is None:
        return "size not known"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit in ("MB", "GB") and count < 10 else f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def plain(text: str) -> str:
    """Words of others, which Markdown is not to read anything into."""
    return re.sub(r"([\\`*_\[\]()#<>$:~|!])", r"\\\1", text)


def pooling(name: str) -> str:
    """How a block's map is pooled, by its name in a request."""
    return {"max": "maximum", "gem": "generalised mean"}.get(name, f"{name}×{name}")


def level(sigma: float) -> str:
    """A noise level σ, short."""
    return f"{sigma:.0f}" if sigma >= 100 else f"{sigma:.2g}"
