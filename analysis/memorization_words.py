"""What the figures of a study of memorization show, in a sentence each, and the numbers that several seeds give together."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .intervals import wilson
from .memorized import Memorized, images
from .stopping import SIGNALS, Stop

RATIO = 0.5  # Carlini et al., arXiv 2301.13188: a copy is nearer than half of the mean distance to the next 50
REAL = 0.05  # of held-out real images at most, that a threshold on cosines may call copies
MEASURES = {
    "l2_ratio": "ℓ2-ratio of pixels",
    "features": "cosine of features",
    "own_features": "cosine of the network's own features",
    "encoder": "cosine of an encoder's features",
}


def percent(value: float, low: float, high: float) -> str:
    """A share with its interval."""
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def points(value: float, low: float, high: float) -> str:
    """A difference of shares with its interval."""
    return f"{100 * value:+z.1f} points ({100 * low:+z.1f} to {100 * high:+z.1f})"


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of copies of all seeds together, a row a size and threshold, with the difference of the scores; rows of one measure.

    Samples of the networks count as one set (Wilson's interval); held-out images are the same for every network and count once, with
    the mean of their shares. The difference, score less that of held-out images, has Newcombe's interval (Stat. Med. 17 (1998) 873).
    """
    found = []
    for (size, threshold), group in rows.groupby(["size", "threshold"], sort=False):
        total, real = int(group.n.sum()), float(group.held_out.mean())
        share = float((group.copies * group.n).sum() / total)
        (low, high), (under, over) = wilson(share * total, total), wilson(real * group.n.max(), int(group.n.max()))
        apart = real - share
        found.append(
            {"size": size, "threshold": threshold, "copies": share, "copies_low": low, "copies_high": high, "score": 1 - share, "n": total}
            | {"held_out": real, "held_out_low": under, "held_out_high": over, "difference": apart}
            | {
                "difference_low": apart - math.hypot(real - under, high - share),
                "difference_high": apart + math.hypot(over - real, share - low),
            }
        )
    columns = ["size", "threshold", "copies", "copies_low", "copies_high", "score", "n", "held_out", "held_out_low", "held_out_high"]
    return pd.DataFrame(found, columns=[*columns, "difference", "difference_low", "difference_high"])


def usual(measure: str, rows: pd.DataFrame) -> float:
    """The threshold to begin with: .5 of a ratio; of cosines, whose scale is the features', the lowest that spares held-out images.

    It is chosen on real images alone, never on samples: at most one in 20 of them is called a copy in any training set of it.
    """
    thresholds = sorted(rows.threshold.unique())
    if measure == "l2_ratio":
        return float(min(thresholds, key=lambda at: abs(at - RATIO)))
    spared = rows.groupby("threshold").held_out.max()
    return float(min((at for at in thresholds if spared[at] <= REAL), default=thresholds[-1]))


def curves(rows: pd.DataFrame, sizes: Sequence[str], block: str, seen: int) -> str:
    """Where each size's curve has its highest level."""
    told = []
    for size in sizes:
        curve = rows[rows["size"] == size].sort_values("sigma")
        if len(curve):
            top, first = curve.loc[curve.accuracy.idxmax()], curve.iloc[0]
            where = "the lowest level" if top.sigma == first.sigma else f"σ = {top.sigma:.2g}"
            told.append(f"{images(size)}, {percent(top.accuracy, top.ci_low, top.ci_high)} at {where}")
    return f"In block {block}, after {seen:,} training images, accuracy is highest with {'; '.join(told)}."


def rises(verdicts: pd.DataFrame, sizes: Sequence[str]) -> str:
    """What became of each size's gain from its highest moment to the last, and whether the hump is there at the end."""
    told = []
    for size in sizes:
        rows = verdicts[verdicts["size"] == size].sort_values("seen")
        if rows.empty:
            continue
        last, top = rows.iloc[-1], rows.loc[rows.gain.idxmax()]
        said = f"{images(size)}: {points(last.gain, *last.gain_ci)}, {last['shape']}"
        told.append(said + (f", after {points(top.gain, *top.gain_ci)} at {int(top.seen):,}" if top.seen != last.seen else ""))
    return f"Gain over least noise after {int(verdicts.seen.max()):,} training images, by training set: {'; '.join(told)}."


def stopped(stops: Mapping[str, Stop], size: str) -> str:
    """Where the curve alone would have stopped, and the other signals."""
    told = []
    for name, one in stops.items():
        where = "never stops" if one.stopped is None else f"stops after {one.stopped:,}"
        told.append(f"{SIGNALS[name].title} {where} and keeps {one.kept:,}")
    return f"Networks trained on {images(size)}, by training images seen: {'; '.join(told)}."


def copied(found: pd.DataFrame, sizes: Sequence[str], measure: str, threshold: float) -> str:
    """Which share is called copies at a threshold, and the score less that of held-out images."""
    told = []
    for row in found[np.isclose(found.threshold, threshold)].to_dict("records"):
        if row["size"] in sizes:
            told.append(
                f"{images(row['size'])}, {percent(row['score'], 1 - row['copies_high'], 1 - row['copies_low'])}, "
                f"{points(row['difference'], row['difference_low'], row['difference_high'])} from held-out real images"
            )
    side = "below" if measure == "l2_ratio" else "above"
    return (
        f"Generalization score, samples that are no copies ({MEASURES[measure]} {side} {threshold:g}), by training set: {'; '.join(told)}."
    )


def halved(rows: pd.DataFrame, sizes: Sequence[str]) -> str:
    """Whether samples of two networks are more like each other than like their own training images."""
    told = []
    for size in sizes:
        found = rows[rows["size"] == size]
        if len(found):
            told.append(f"{images(size)}: cosine {found.between.mean():.2f} with each other, {found.own.mean():.2f} with the nearest {'of the first that they met' if size == 'fresh' else 'of their own'} ({found.above.mean():+.2f} against held-out real images), "
                        f"{found.closer.mean():.0%} closer to each other")  # fmt: skip
    return f"Samples of two networks with no training image in common, from the same noise: {'; '.join(told)}."


def distance_rows(rows: pd.DataFrame, sizes: Sequence[str]) -> list[dict[str, Any]]:
    """Fréchet distances to show, a row a size: means over seeds beside those of held-out real images, and their difference."""
    return [
        {
            "trained on": images(size),
            "samples": f"{found.frechet.mean():.2f}",
            "held-out real images": f"{found.reference.mean():.2f}",
            "difference": f"{found.above.mean():+.2f} ({found.above_low.min():+.2f} to {found.above_high.max():+.2f})",
        }
        for size in sizes
        if len(found := rows[rows["size"] == size])
    ]


def parted(rows: pd.DataFrame, sizes: Sequence[str]) -> str:
    """Where held-out and training loss are furthest apart."""
    share = rows.assign(share=1 - rows.train / rows.held_out).groupby(["size", "sigma"]).share.agg(["mean", "min", "max"])
    told = []
    for size in sizes:
        if size in share.index.get_level_values(0):
            mine = share.loc[size]
            at = mine["mean"].idxmax()
            top = mine.loc[at]
            told.append(f"{images(size)}, {top['mean']:.0%} at σ = {at:.2g} (seeds {top['min']:.0%} to {top['max']:.0%})")
    return f"Denoising loss on training images is below that on held-out ones by most with {'; '.join(told)}."


def shared(rows: pd.DataFrame) -> str:
    """Where one network for all levels and networks of a level each read best, in one block; and what the latter do at the lowest level."""
    both = rows[rows.seed == rows.seed.min()].reset_index(drop=True)
    table = both.pivot_table(index="sigma", columns="model", values="accuracy").dropna()
    if table.empty or not {"one", "apart"} <= set(table):
        return "One network for all noise levels and networks of one level each have no level in common."
    tops = {name: both.loc[both[both.model == name].accuracy.idxmax()] for name in ("one", "later", "apart") if name in table}
    best = {
        name: f"{100 * top.accuracy:.1f} % ({100 * top.ci_low:.1f} to {100 * top.ci_high:.1f}) at σ = {top.sigma:.2g}"
        for name, top in tops.items()
    }
    told = (
        f"In block {both.block.iloc[0]} the one network for all noise levels reads {best['one']} at best, those trained at one level each "
        f"{best['apart']}; the one reads better at {(table.one > table.apart).sum()} of {len(table)} levels."
    )
    if "later" in tops:
        told += f" After {tops['later'].seen:,} images the one network reads {best['later']}."
    if "identity" not in both:
        return told
    lowest = both[both.model == "apart"].sort_values("sigma").iloc[0]
    return f"{told} At the lowest level the error of the one trained there is {100 * lowest.held_out / lowest.identity:.0f} % of that of leaving the noise in."


def stop_rows(table: pd.DataFrame, verdicts: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows to show, of a table as `stopping.compare` makes and the verdicts of its size."""
    peaks = {int(row.seen): row for row in verdicts.itertuples()}
    rows = []
    for row in table.to_dict("records"):
        peak = peaks[row["kept"]]
        rows.append(
            {
                "signal": SIGNALS[row["signal"]].title,
                "stops after": "never" if pd.isna(row["stopped"]) else f"{row['stopped']:,}",
                "keeps": f"{row['kept']:,}",
                "why": row["reason"],
                "peak accuracy there": percent(peak.peak_accuracy, *peak.peak_accuracy_ci),
                "below the best of all": f"{100 * row['lost']:.1f} points" if "lost" in row else "",
                "score there": f"{100 * row['score']:.1f} %" if _there(row, "score") else "",
                "Fréchet there": f"{row['frechet']:.3g}" if _there(row, "frechet") else "",
            }
        )
    return rows


def _there(row: Mapping[str, Any], name: str) -> bool:
    return name in row and not pd.isna(row[name])


def command(study: Memorized) -> str:
    """The command line that makes the study again."""
    asked = study.facts.get("asked", study.facts["request"])
    words = ["python", "-m", "analysis", "study", "memorization", "--dataset", str(asked["dataset"])]
    words += ["--sizes", ",".join(study.sizes), "--seeds", str(len(study.seeds)), "--seen", ",".join(str(seen) for seen in asked["seen"])]
    for name in ("label_set", "labels_per_class", "label_draws", "levels", "recipe", "n_validation", "n_test", "samples"):
        if asked.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", str(asked[name])]
    if sharing := study.facts.get("sharing"):
        words += ["--sharing", str(sharing["seen"]), "--sharing-seeds", str(sharing["seeds"])]
    if encoder := study.facts.get("encoder"):
        words += ["--encoder", str(encoder["place"])]
    return shlex.join(words)
