"""The receipt of a study of memorization: how its numbers came about, a link, the command line, what to cite, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis.memorized import COLUMNS, Memorized, images
from app.components import files, link
from app.components.receipt import TOOL, kind_of_picture
from app.components.words import duration

if TYPE_CHECKING:
    from app.components.memorized import Choice

PAPERS = """@misc{li2025, title = {Understanding Representation Dynamics of Diffusion Models via Low-Dimensional Modeling}, eprint = {2502.05743}, archivePrefix = {arXiv}}
@misc{kadkhodaie2023, title = {Generalization in diffusion models arises from geometry-adaptive harmonic representations}, eprint = {2310.02557}, archivePrefix = {arXiv}}
@misc{carlini2023, title = {Extracting Training Data from Diffusion Models}, eprint = {2301.13188}, archivePrefix = {arXiv}}
@misc{karras2022, title = {Elucidating the Design Space of Diffusion-Based Generative Models}, eprint = {2206.00364}, archivePrefix = {arXiv}}
@misc{heusel2017, title = {GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium}, eprint = {1706.08500}, archivePrefix = {arXiv}}"""
TITLES = {
    "curve": "Curves",
    "generation": "Copies",
    "encoder": "Copies by an encoder",
    "frechet": "Fréchet distances",
    "nearest": "Nearest training images",
    "halves": "Disjoint sets",
    "losses": "Losses",
    "sharing": "One or many",
}


def rows(study: Memorized, features: str | None) -> dict[str, str]:
    """The receipt, in words; `features` are of the network that Fréchet distances are measured with."""
    facts: Mapping[str, Any] = study.facts
    asked, levels = facts["request"], study.levels
    hardware = facts.get("hardware", "")
    told = "; ".join(f"{name}: {steps:,} steps" for name, steps in hardware.items()) if isinstance(hardware, Mapping) else str(hardware)
    found = {
        "data": f"{asked['dataset']}, labels: {asked.get('label_set') or 'the first'}, {len(facts['classes'])} classes",
        "training": f"{', '.join(images(size) for size in study.sizes)}; {len(study.seeds)} seeds ({', '.join(map(str, study.seeds))}); every network met "
        f"{study.seen()[-1]:,} training images, and was looked at after {', '.join(f'{seen:,}' for seen in study.seen())}",
        "network": f"{facts.get('network', {}).get('parameters', 0):,} parameters{_steps(facts)}",
        "probe": f"logistic regression on block {study.block} (pooling {facts['headline']['pooling']}), chosen by {facts['headline']['chosen_by']}",
        "images": f"{facts.get('n_labelled', '?')} labelled a draw, {asked.get('label_draws', '?')} draws a seed, {facts.get('n_test', '?')} test images; the "
        "same for every size, and in no training set",
        "noise levels": f"{len(levels)}, σ = {levels[0]['sigma']:.3g} to {levels[-1]['sigma']:.3g}",
        "made": f"{facts['created'][:10]}, {duration(facts.get('seconds'))} of training and looking in all; {told}",
        "intervals": "95 %; of accuracies and gains over test images, label draws and seeds; of shares Wilson's, over samples",
    }
    if first := facts.get("samples_from"):
        found["samples"] = (
            f"{asked['samples']} of each network, by those of {asked['sample_steps']} steps of DDIM (arXiv 2010.02502) that lie at σ = {first:.3g} and below; they begin "
            "as the mean image of the labelled ones' pool with noise of that level"
        )
    if encoder := facts.get("encoder"):
        found["encoder"] = f"{encoder['name']}, {encoder['identity']}"
    if features:
        found["Fréchet distance"] = f"in features of {features}, beside the same number of held-out real images; no published FID"
    return found


def _steps(facts: Mapping[str, Any]) -> str:
    """Which noise the training steps were of, where the study says it."""
    recipe = facts.get("network", {}).get("recipe")
    if not recipe:
        return ""
    mean, spread = recipe.get("log_sigma") or (None, None)
    drawn = (
        "timesteps drawn evenly"
        if mean is None
        else f"ln σ of a step normal, mean {mean:g}, standard deviation {spread:g} (arXiv 2206.00364)"
    )
    return f", ε-prediction, batch {recipe['batch']}, learning rate {recipe['learning_rate']:g}; {drawn}"


def methods(study: Memorized) -> str:
    """A paragraph for a paper."""
    facts, last = study.facts, study.seen()[-1]
    parts = []
    for size in study.sizes:
        verdict = study.verdict(size, last)
        low, high = (100 * bound for bound in verdict["gain_ci"])
        parts.append(f"{images(size)}: {verdict['shape']}, {100 * verdict['gain']:z.1f} points ({low:z.1f} to {high:z.1f})")
    return (
        f"Diffusion networks of {facts.get('network', {}).get('parameters', 0):,} parameters were trained on {facts['request']['dataset']}, on nested sets of "
        f"{', '.join(study.sizes)} images ({len(study.seeds)} seeds, {last:,} training images seen by each). Features of block {study.block} at "
        f"{len(study.levels)} noise levels were read by logistic regression fitted on labelled images outside every training set; test images were the same "
        f"for all. Gain over the lowest level after {last:,} images, with 95 % intervals over test images, label draws and seeds: {'; '.join(parts)}. "
        f"Noisescope, study {study.key}."
    )


def show(choice: Choice) -> None:
    """Draw the receipt."""
    from analysis.memorization_words import command
    from app.components.memorized import tables

    study = choice.study
    distances = tables(study.version, "frechet", study)
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        told = rows(study, str(distances.features.iloc[0]) if len(distances) else None)
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in told.items()))
        st.caption("A link to this view (a study that only you have opens only for you)")
        st.code(link.link(choice.state), language=None, wrap_lines=True)
        st.caption("The command line that makes this study again")
        st.code(command(study), language="bash", wrap_lines=True)
        st.caption("Methods, and what to cite")
        st.code(methods(study), language=None, wrap_lines=True)
        st.code("\n".join([TOOL.format(version("noisescope")), PAPERS]), language="latex", wrap_lines=True)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            for name in (name for name in COLUMNS if study.has(name)):
                files.offer(
                    f"{TITLES[name]} as CSV",
                    lambda name=name: str(tables(study.version, name, study).to_csv(index=False)),
                    f"noisescope-{study.key[:8]}-{name}.csv",
                    "text/csv",
                    study.version,
                    key=f"known-{name}-csv",
                    icon=":material/table:",
                )
            kind_of_picture()
