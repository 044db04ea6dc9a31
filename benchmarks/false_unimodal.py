"""How often a simulated curve without a hump is called unimodal, over the 5 % that are promised."""

from __future__ import annotations

from . import verdicts
from .measure import Measured

ALLOWED = 0.05


def run() -> Measured:
    """The highest of the false rates over `ALLOWED`; rates with intervals and power at true rises in the details."""
    found = verdicts.run()
    rises = {name for name in found["curves"] if name.startswith("rise of")}
    rates = {name: curve["unimodal"] for name, curve in found["curves"].items()}
    false = {name: rate for name, rate in rates.items() if name not in rises}
    details = {
        "false_unimodal": false,
        "power": {name: rate for name, rate in rates.items() if name in rises},
        "unit": "share of simulated studies called unimodal",
    }
    return Measured(round(max(false.values()) / ALLOWED, 4), details=details | found)
