"""Noisescope: what a diffusion model knows about images, and at which noise level it knows it best.

The names below are the public ones; each loads its module when it is first used, so importing this costs milliseconds.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attribution": ["attribute"],
        "backends": ["open_backend"],
        "catalog": ["card", "models"],
        "datasets": ["open_dataset"],
        "errors": ["NoisescopeError"],
        "features": ["capture", "pool"],
        "fusing": ["fuse"],
        "probed": ["ProbedModel", "Target"],
        "readout": ["Readout"],
        "specs": ["Block", "Card", "FeatureIdentity", "SweepRequest", "variants"],
        "store": ["Store"],
        "streaming": ["stream"],
        "studies": ["Study", "find_study", "studies"],
        "sweeping": ["sweep", "sweep_all"],
        "views": ["view"],
    },
)
