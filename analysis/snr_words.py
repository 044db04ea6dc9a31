"""What the SNR of a study's features says, in words and rows: from the table and facts that are kept with the study."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .studies import SNR, Study

if TYPE_CHECKING:
    import pandas as pd

Facts = Mapping[str, Any]
Peak = Mapping[str, Any]
OF = {"snr": "SNR", "excess": "SNR over that of shuffled labels"}
READINGS = {"noisy": "noisy input", "clean": "clean input", "mean": "mean over draws"}


def kept(study: Study) -> tuple[pd.DataFrame, Facts] | None:
    """The table that is kept with a study and how it came about, or None. Raises DamagedFile."""
    return (read(study.path(SNR).read_bytes()), study.facts["snr"]) if SNR in study.facts["files"] else None


def read(data: bytes) -> pd.DataFrame:
    """The table from its file."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(data))


def peaks(said: Facts) -> pd.DataFrame:
    """The peaks, a block, SNR and accuracy a row, with each end of an interval in a column of its own."""
    import pandas as pd

    found = []
    for one in said["peaks"]:
        row = dict(one) | {"placed": placed(one)}
        for name in ("snr", "accuracy", "distance"):
            row[f"{name}_low"], row[f"{name}_high"] = row.pop(f"{name}_ci")
        found.append(row)
    return pd.DataFrame(found)


def peak(said: Facts, block: str, pooling: str, against: str, of: str = "snr") -> Peak | None:
    """Where the SNR of a block and an accuracy peak, or None where that cannot be told."""
    wanted = (block, pooling, against, of)
    return next((one for one in said["peaks"] if (one["block"], one["pooling"], one["against"], one["of"]) == wanted), None)


def pick(table: pd.DataFrame, block: str, pooling: str, reading: str | None = None) -> pd.DataFrame:
    """The rows of a block, of one way of reading or of all, in ascending σ."""
    found = table[(table.block == block) & (table.pooling == pooling)]
    return (found if reading is None else found[found.reading == reading]).sort_values("sigma")


def accuracy(against: str) -> str:
    """What an accuracy is of, in words."""
    return {"projection": "the projection classifier's accuracy", "all": "the probe's accuracy, with all labels,"}.get(
        against, f"the probe's accuracy, with {against} labels a class,"
    )


def sentence(table: pd.DataFrame, said: Facts, block: str, pooling: str, against: str) -> str:
    """The finding for a block: where its SNR peaks and how high, whether that is above shuffled labels', and how far accuracy's peak is."""
    found, rows = peak(said, block, pooling, against), pick(table, block, pooling, said["input"])
    if found is None or rows.snr.isna().all():
        return f"Of block {block} no SNR can be told: its features do not vary, or are no numbers, at nearly every noise level."
    top = rows.loc[rows.snr.idxmax()]
    says = (
        f"In block {block} the SNR of held-out images' features is highest near σ = {_span(found, 'snr')}: {_number(top.snr)} "
        f"({_number(top.snr_low)} to {_number(top.snr_high)}), "
    )
    if top.snr_low > top.null_high:
        says += f"{top.snr / top.null:.2g} times that of shuffled labels. "
    else:
        says += f"not above that of shuffled labels ({_number(top.null_low)} to {_number(top.null_high)}): nothing of the classes is in this peak. "
    if found["snr_edge"]:
        says += f"Its highest value is at the {_end(found, rows)} level measured: the peak may lie beyond. "
    says += f"{_first(accuracy(against))} peaks near σ = {_span(found, 'accuracy')}"
    says += f", {_apart(found)}." if placed(found) else "; how far that is from the SNR's peak means nothing here."
    if (other := peak(said, block, pooling, against, "excess")) and other["above"]:
        says += f" As a multiple of the SNR of shuffled labels it peaks near σ = {_span(other, 'snr')}"
        says += (
            f"; from there accuracy's peak is {_apart(other)}."
            if placed(other)
            else ", at an edge of the levels or with accuracy's peak at one."
        )
    return says


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _span(found: Peak, what: str) -> str:
    low, high = found[f"{what}_ci"]
    return f"{found[f'{what}_sigma']:.2g} (95 % interval {low:.2g} to {high:.2g})"


def _apart(found: Peak) -> str:
    """How far accuracy's peak is from the SNR's, in words."""
    value, (low, high) = found["distance"], found["distance_ci"]
    way = "more" if value > 0 else "less"
    shown = "" if low > 0 or high < 0 else ", so that they are not shown to differ"
    return f"{abs(value):.2f} in ln σ towards {way} noise ({low:+.2f} to {high:+.2f}{shown})"


def _end(found: Peak, rows: pd.DataFrame) -> str:
    return "lowest" if found["snr_sigma"] <= rows.sigma.iloc[len(rows) // 2] else "highest"


def _first(text: str) -> str:
    return text[0].upper() + text[1:]


def every(said: Facts, pooling: str, against: str) -> str:
    """The finding over all blocks, of the SNR and of that over shuffled labels'."""
    rows = [one for one in said["peaks"] if (one["pooling"], one["against"]) == (pooling, against)]
    told = [f"{_first(name)}: {_count([one for one in rows if one['of'] == of])}" for of, name in OF.items()]
    return f"{' '.join(told)} Each interval is its own 95 %, not corrected for the number of blocks."


def placed(one: Peak) -> bool:
    """Whether both peaks lie inside the levels measured, the SNR's above all of shuffled labels."""
    return bool(one["above"]) and not (one["snr_edge"] or one["accuracy_edge"])


def _count(found: list[Peak]) -> str:
    inner = [one for one in found if placed(one)]
    apart = [one for one in inner if one["distance_ci"][0] > 0 or one["distance_ci"][1] < 0]
    if not inner:
        return f"in none of {len(found)} blocks can both peaks be placed."
    later = sum(one["distance"] > 0 for one in apart)
    says = f"in {len(inner)} of {len(found)} blocks both peaks can be placed, and in {len(apart)} of these they are shown to be apart"
    return says + (f", accuracy's at more noise in {later}." if apart else ".")


def far(table: pd.DataFrame, block: str, pooling: str) -> str:
    """The finding on clean input: how far its features are from noisy ones, and what their SNR is beside the others'."""
    rows = {name: pick(table, block, pooling, name).set_index("sigma") for name in READINGS}
    if rows["clean"].distance.isna().all():
        return f"Of block {block} no distance can be told: its features do not vary over σ."
    sigma = rows["clean"].distance.idxmax()
    clean, one, mean = rows["clean"].loc[sigma], rows["noisy"].loc[sigma], rows["mean"].loc[sigma]
    return (
        f"In block {block} features of clean images, with σ only as the conditioning, are furthest from the noisy ones at σ = {sigma:.2g}: "
        f"{clean.distance:.2f} ({clean.distance_low:.2f} to {clean.distance_high:.2f}) of what noisy features spread over σ, where the feature "
        f"of one noised image scatters by {one.distance:.2f} ({one.distance_low:.2f} to {one.distance_high:.2f}), {_beside(clean, one)}. "
        f"There the SNR is {_number(clean.snr)} with clean input, {_number(one.snr)} with noisy input and {_number(mean.snr)} of the mean over "
        f"{mean_draws(table)} draws of ε, which stays in the training distribution."
    )


def _beside(clean: pd.Series, one: pd.Series) -> str:
    """What a clean feature's distance is beside the noise's own, in words."""
    if clean.distance_low > one.distance_high:
        return "so that they are further off than noise takes a feature"
    return "so that by distance alone they would not stand out" if clean.distance_high < one.distance_low else "about as much"


def mean_draws(table: pd.DataFrame) -> int:
    """Over how many draws of ε the mean feature is taken."""
    return int(table[table.reading == "noisy"].draws.iloc[0])


def rows(said: Facts, pooling: str, against: str) -> list[dict[str, Any]]:
    """The peaks of every block in network order, in words."""
    found = []
    for one in said["peaks"]:
        if (one["pooling"], one["against"]) == (pooling, against):
            low, high = one["distance_ci"]
            found.append(
                {
                    "block": one["block"],
                    "peak of": OF[one["of"]],
                    "its σ": _cell(one, "snr"),
                    "accuracy's σ": _cell(one, "accuracy"),
                    "apart, ln σ": f"{one['distance']:+.2f} ({low:+.2f} to {high:+.2f})",
                    "not placed": _why(one),
                }
            )
    return found


def _why(one: Peak) -> str:
    """Why a peak cannot be placed; nothing where both can."""
    edges = [f"{name} at an edge" for name, key in (("SNR", "snr_edge"), ("accuracy", "accuracy_edge")) if one[key]]
    return ", ".join([*edges, *([] if one["above"] else ["SNR as of shuffled labels"])])


def _cell(one: Peak, what: str) -> str:
    low, high = one[f"{what}_ci"]
    return f"{one[f'{what}_sigma']:.2g} ({low:.2g} to {high:.2g})"


def how(said: Facts) -> str:
    """How it came about, a paragraph."""
    few = min(said["directions"], said["smallest_class"])
    validation = f" and {said['validation']:,} validation" if said["validation"] else ""
    short = f" ({few}, because a class has {said['smallest_class']} training images)" if few < said["directions"] else ""
    text = (
        f"Features of length one, without the mean of the {said['train']:,} training images; the first {said['directions']} right singular vectors "
        f"of each of {said['classes']} classes among these{short} are its subspace. SNR and projection classifier are of {said['test']:,} test"
        f"{validation} images, none of them fitted on, under {said['draws']} draws of ε, seed {said['seed']}; the null is of {said['shuffles']} "
        f"permutations of the training labels with {said['input']} input, its band from the lowest to the highest. Intervals are 95 %, over images and draws of ε, "
        "by standard errors of ln SNR's influence function. Peaks are vertices of a parabola in ln σ through five levels; their "
        "distance is resampled with images, and draws of ε where the probes had the same, in pairs; the SNR of shuffled labels is held fixed in it."
    )
    return text + (f" Left out for want of images: {', '.join(said['left_out'])}." if said["left_out"] else "")


LIMITS = (
    "A clean image at a noisy σ is nothing the network was trained on, so what it says there is no evidence of how the network works in "
    "use. The peaks of SNR and of accuracy need not coincide: an SNR counts energy in a class's own directions, a probe needs only that "
    "classes differ. At high noise a few directions hold much of every class, and the SNR rises without any knowledge of classes: read it "
    "beside that of shuffled labels."
)
