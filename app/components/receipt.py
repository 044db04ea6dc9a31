"""What every figure carries: how its numbers came about, and the ways to take it along."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import streamlit as st

from analysis import specs
from analysis.studies import Study
from analysis.verdict import MEASURES
from app.components.words import pooling

OPTIONAL = ("n_train", "n_validation", "n_test", "baseline_labels")


def command(study: Study, axis: str = "timestep") -> str:
    """The command line that makes this study again, and says its noise levels as the figure does."""
    request = study.facts["request"]
    words = ["python", "-m", "analysis", "sweep", "--backend", request["backend"], "--dataset", request["dataset"]]
    words += ["--label-set", study.facts["receipt"]["label_set"]]
    for labels in request["labels_per_class"]:
        words += ["--labels-per-class", str(labels)]
    for sigma in request["sigmas"]:
        words += ["--sigma", repr(sigma)]
    if len(request["blocks"]) < len(study.card.blocks):
        for block in request["blocks"]:
            words += ["--block", block]
    for name in request["poolings"]:
        words += ["--pooling", name]
    words += ["--head", request["head"], "--eps-draws", str(request["eps_draws"]), "--seed", str(request["seed"])]
    if request["input"] != "noisy":
        words += ["--input", request["input"]]
    for option, value in (("label-draws", request["label_draws"]), *((name.replace("_", "-"), request[name]) for name in OPTIONAL)):
        if value is not None:
            words += [f"--{option}", str(value)]
    for option, even in (
        ("label_noise", 0),
        ("imbalance", 1),
        ("pca", None),
        ("average_draws", 1),
        ("ensemble", 0),
        ("fuse", 0),
        ("precision", "float32"),
    ):
        if request.get(option, even) != even:
            words += [f"--{option.replace('_', '-')}", str(request[option])]
    if request["condition"] != study.card.unconditional:
        words += ["--condition", request["condition"]]
    for encoder in request.get("encoders", ()):
        words += ["--encoder", encoder]
    if not request["baselines"]:
        words.append("--no-baselines")
    if axis != "timestep":
        words += ["--axis", axis]
    return shlex.join(words)


def rows(study: Study, labels: str) -> dict[str, str]:
    """The receipt, in words."""
    receipt, result = study.facts["receipt"], study.result(labels)
    sigmas = [level["sigma"] for level in study.facts["levels"]]
    return {
        "model": f"{receipt['model']}, {receipt['revision']}",
        "data": f"{receipt['dataset']} ({receipt['dataset_identity']}), labels: {receipt['label_set']}",
        "left out": "; ".join([skipped(receipt), *unread(result)]),
        "noise levels": f"{len(sigmas)}, σ = {sigmas[0]:.3g} to {sigmas[-1]:.3g}"
        + ("; the lowest is the model's own lowest" if sigmas[0] == study.card.sigmas[0] else ""),
        "images": f"{result['labelled_images']} labelled a draw, from {receipt['n_train_pool']}; {receipt['n_validation']} validation, "
        f"outside every draw, chose penalty, baseline and headline block; {receipt['n_test']} test",
        "draws": f"{result['draws']} of labels, {receipt['eps_draws']} of noise ε, seed {receipt['seed']}",
        **regime(study),
        "probe": f"{receipt['head']}{' regression' if receipt['head'] in ('logistic', 'ridge') else ''} on the map pooled to "
        + ", ".join(pooling(name) for name in receipt["poolings"])
        + prepared(study),
        **averaged(study, labels),
        "measure": "share of right answers" if study.measure == "accuracy" else "R² on test images: numbers, not classes, are read",
        **encoders(receipt),
        "input": f"{receipt['input']}, condition: {specs.said_condition(receipt['condition'])}, precision: {receipt['precision']}",
        "made": f"{study.facts['created'][:10]} on {receipt['device']}, {receipt['passes']:,} passes of an image, {receipt['seconds']:.0f} s",
        "software": ", ".join(f"{name} {version}" for name, version in receipt["packages"].items()),
        "protocol": f"number {receipt['protocol']}; intervals are 95 %: test images, label draws and ε draws vary, "
        + ("what they share counts once" if receipt.get("intervals") == specs.INTERVALS else BEFORE),
    }


BEFORE = "what they share counts twice, as runs made before version 0.7 have it: too wide, so run again before comparing with others"


def unread(result: Mapping[str, Any]) -> list[str]:
    """Which curves are not there because a cell could not be probed, and why."""
    return [f"{wrong['series']}, at σ = {wrong['sigma']:.3g}: {wrong['why']}" for wrong in result.get("left_out", [])]


def prepared(study: Study) -> str:
    """What was done to features before the probe, in words."""
    request, said = study.facts["request"], ""
    if request.get("average_draws", 1) > 1:
        said += f", the mean over {request['average_draws']} draws of ε"
    if request.get("pca"):
        said += f", projected on {request['pca']} principal components of the labelled images"
    return said


def regime(study: Study) -> dict[str, str]:
    """What was done to the labels, where anything was."""
    found = specs.regime(study.facts["request"])
    return {"labels": f"{'; '.join(found)}, among the labelled images; validation and test images are as they are"} if found else {}


SEEN = {"labels": "labels", "text": "text", "neither": "neither labels nor text"}


def encoders(receipt: Mapping[str, Any]) -> dict[str, str]:
    """What the baseline encoders are, where there are any."""
    said = [
        f"{one['name']} ({one['identity']}, {one['parameters']:,} parameters; in training it saw "
        f"{SEEN.get(one.get('seen', ''), 'what its files do not say')})"
        for one in receipt.get("encoders", ())
    ]
    how = "on the images that the model is shown, with the same draws of ε and the same probe, and on clean ones"
    return {"encoders": f"{'; '.join(said)}: {how}"} if said else {}


def averaged(study: Study, labels: str) -> dict[str, str]:
    """What an ensemble was made of, where there is one."""
    told = study.facts.get("ensembles", {}).get(labels, {})
    if "levels" not in told:
        return {}
    text = (
        f"{told['members']} levels from σ = {told['levels'][0]:.3g} to {told['levels'][-1]:.3g} in block {told['block']}, each under "
        f"{told['members']} draws of ε; block, centre (σ = {told['centre']:.3g}) and the control's level were chosen on validation images"
    )
    fused = told.get("fusion")
    if not fused:
        return {"ensemble": text}
    learned = (
        f"one attention network reads the {fused['side']} × {fused['side']} maps of {', '.join(fused['blocks'])} at those levels; it was trained on "
        "the labelled images of each draw, its weight decay was chosen on validation images, and test images were only scored"
    )
    return {"ensemble": text, "fusion": learned}


def skipped(receipt: Mapping[str, Any]) -> str:
    """Which images of the data were not used as they are, in words."""
    said = [f"{receipt['skipped_count']} images that could not be read"] if receipt["skipped_count"] else []
    said += [f"{receipt['unlabelled']} without a label"] if receipt["unlabelled"] else []
    said += [f"{receipt['duplicates']} copies of the same picture"] if receipt["duplicates"] else []
    if receipt["resized"]:
        said.append(f"nothing by size: {receipt['resized']} images were cropped to their middle square and resized")
    return ", ".join(said) or "no image"


def methods(study: Study, result: Mapping[str, Any]) -> str:
    """A paragraph for a paper, of the block that is shown."""
    receipt, verdict = study.facts["receipt"], result["verdict"]
    beside = "".join(f"Baseline encoders: {said}. " for said in encoders(receipt).values())
    intervals = "are from a bootstrap over test images and draws"
    if receipt.get("intervals") == specs.INTERVALS:
        intervals = "(Wilson's, for shares) are by two-way clustered standard errors over test images and draws, with Satterthwaite's degrees of freedom"
    condition = "" if receipt["condition"] == "none" else f"condition: {specs.said_condition(receipt['condition'])}; "
    regime_of = "".join(f"{said[0].upper()}{said[1:]}. " for said in regime(study).values())
    return (
        f"Features of {receipt['model']} ({receipt['revision']}) on {receipt['dataset']} ({receipt['dataset_identity']}) were extracted at "
        f"{len(study.facts['levels'])} noise levels ({receipt['input']} input, {condition}x_sigma = x_0 + sigma eps), pooled over space ({pooling(result['headline'].split('/')[2])}{prepared(study)}) and read by "
        f"{receipt['head']} probes fitted on {result['labelled_images']} labelled images per draw ({result['draws']} draws, "
        f"{receipt['eps_draws']} noise draws). Penalty and block were chosen on {receipt['n_validation']} validation images; {MEASURES[study.measure]} is on "
        f"{receipt['n_test']} test images. {regime_of}{beside}The gain over the lowest level was measured on half of the draws and images with the peak chosen on "
        f"the other half, averaged over 50 splits; 95 % intervals {intervals}; "
        f"p-values of all blocks are Holm-corrected. {result['headline'].split('/')[1]}: {verdict['shape']}, gain {100 * verdict['gain']:.1f} points "
        f"({100 * verdict['gain_ci'][0]:.1f} to {100 * verdict['gain_ci'][1]:.1f}), p = {verdict['p_holm']:.2g}. "
        f"Noisescope, protocol {receipt['protocol']}, study {study.key}."
    )


TOOL = "@software{{noisescope, title = {{Noisescope}}, year = {{2026}}, version = {{{}}}}}"
PAPERS = """@misc{li2025, title = {Understanding Representation Dynamics of Diffusion Models via Low-Dimensional Modeling}, eprint = {2502.05743}, archivePrefix = {arXiv}}
@misc{ho2020, title = {Denoising Diffusion Probabilistic Models}, eprint = {2006.11239}, archivePrefix = {arXiv}}"""
DATA = {
    "digits": "@misc{digits, author = {Alpaydin, E. and Kaynak, C.}, title = {Optical Recognition of Handwritten Digits}, howpublished = {UCI Machine Learning Repository}, year = {1998}, doi = {10.24432/C50P49}}",
    "cifar10": "@techreport{krizhevsky2009, author = {Krizhevsky, A.}, title = {Learning Multiple Layers of Features from Tiny Images}, institution = {University of Toronto}, year = {2009}}",
}


def bibtex(study: Study) -> str:
    """What to cite: tool, papers and, where it is known, the data."""
    name = study.facts["receipt"]["dataset"].rpartition("/")[2]
    return "\n".join([TOOL.format(version("noisescope")), PAPERS, *([DATA[name]] if name in DATA else [])])


def show(study: Study, labels: str, result: Mapping[str, Any], link: str, axis: str) -> None:
    """Draw the receipt."""
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in rows(study, labels).items()))
        st.caption("A link to this view (a study that only you have opens only for you)")
        st.code(link, language=None, wrap_lines=True)
        st.caption("The command line that makes this study again")
        st.code(command(study, axis), language="bash", wrap_lines=True)
        st.caption("Methods, and what to cite")
        st.code(methods(study, result), language=None, wrap_lines=True)
        st.code(bibtex(study), language="latex", wrap_lines=True)
        _downloads(study)


@st.cache_data(show_spinner=False, max_entries=8)
def _csv(version: str, _study: Study) -> str:
    return str(_study.table("curve").to_csv(index=False))


def _downloads(study: Study) -> None:
    table, parquet = _csv(study.version, study), study.path("curve.parquet").read_bytes()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name, ending, mime, data in (
            ("CSV", "csv", "text/csv", table),
            ("Parquet", "parquet", "application/vnd.apache.parquet", parquet),
        ):
            file = f"noisescope-{study.key}.{ending}"
            st.download_button(f"Curves as {name}", data, file, mime, icon=":material/download:", on_click="ignore", key=f"take-{ending}")
        kind_of_picture()


def kind_of_picture() -> None:
    """Draw the choice of what a figure's camera saves."""
    kept = {"svg": "SVG", "png": "PNG"}
    st.segmented_control(
        "The camera on a figure saves",
        list(kept),
        required=True,
        format_func=kept.__getitem__,
        key="picture",
        default="svg",
        persist_state="session",
    )
