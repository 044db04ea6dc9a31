"""What every figure carries: how its numbers came about, and the ways to take it along."""

from __future__ import annotations

import shlex

import streamlit as st

from analysis.studies import Study


def command(study: Study) -> str:
    """The command line that makes this study again."""
    request = study.facts["request"]
    words = ["python", "-m", "analysis", "sweep", "--backend", request["backend"], "--dataset", request["dataset"]]
    for labels in request["labels_per_class"]:
        words += ["--labels-per-class", str(labels)]
    for sigma in request["sigmas"]:
        words += ["--sigma", repr(sigma)]
    if len(request["blocks"]) < len(study.card.blocks):
        for block in request["blocks"]:
            words += ["--block", block]
    for pooling in request["poolings"]:
        words += ["--pooling", pooling]
    words += ["--head", request["head"], "--eps-draws", str(request["eps_draws"]), "--seed", str(request["seed"])]
    for option, value in (("label-draws", request["label_draws"]), ("n-train", request["n_train"]), ("n-test", request["n_test"])):
        if value is not None:
            words += [f"--{option}", str(value)]
    if not request["baselines"]:
        words.append("--no-baselines")
    return shlex.join(words)


def rows(study: Study, labels: str) -> dict[str, str]:
    """The receipt, in words."""
    receipt, result = study.facts["receipt"], study.result(labels)
    sigmas = [level["sigma"] for level in study.facts["levels"]]
    return {
        "model": f"{receipt['model']}, {receipt['revision']}",
        "data": f"{receipt['dataset']} ({receipt['dataset_identity']}), labels: {receipt['label_set']}",
        "noise levels": f"{len(sigmas)}, σ = {sigmas[0]:.3g} to {sigmas[-1]:.3g}; the lowest is the model's own lowest",
        "images": f"{result['labelled_images']} labelled a draw, from {receipt['n_train_pool']}; {receipt['n_validation']} validation, "
        f"outside every draw, chose penalty, baseline and headline block; {receipt['n_test']} test",
        "draws": f"{result['draws']} of labels, {receipt['eps_draws']} of noise ε, seed {receipt['seed']}",
        "probe": f"{receipt['head']} regression on the map averaged to {', '.join(f'{p}×{p}' for p in receipt['poolings'])}"
        if receipt["head"] == "logistic"
        else receipt["head"],
        "input": f"{receipt['input']}, condition: {receipt['condition']}, precision: {receipt['precision']}",
        "made": f"{study.facts['created'][:10]} on {receipt['device']}, {receipt['passes']:,} passes of an image, {receipt['seconds']:.0f} s",
        "software": ", ".join(f"{name} {version}" for name, version in receipt["packages"].items()),
        "protocol": f"number {receipt['protocol']}; intervals are 95 %, by a bootstrap over test images, label draws and ε draws together",
    }


def show(study: Study, labels: str, link: str) -> None:
    """Draw the receipt."""
    with st.expander("Receipt: how these numbers came about", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {text}" for name, text in rows(study, labels).items()))
        st.caption("A link to this view (a study that only you have opens only for you)")
        st.code(link, language=None, wrap_lines=True)
        st.caption("The command line that makes this study again")
        st.code(command(study), language="bash", wrap_lines=True)
        st.download_button(
            "Curves as CSV",
            lambda: study.table("curve").to_csv(index=False),
            file_name=f"noisescope-{study.key}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
