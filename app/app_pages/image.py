"""Image: what happens to one's own image at every noise level, and which pixels decided?"""

from __future__ import annotations

import math

import streamlit as st
from safetensors.numpy import load, save

from analysis.errors import NoisescopeError
from analysis.studies import Study
from app.components import adding, album, asking, image_receipt, leaflet, link, maps, opening, seen, taught, teach
from app.components import bench as lab
from app.components.looked import Looked, Probes, waiting
from app.components.runs import Run, runs


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("One image at every noise level", anchor=False)
    try:
        found = runs()
        opening.from_link(found)
        bench = lab.choose(*opening.places(found))
        here = [run for run in found if run.study and run.place == (bench.backend, bench.dataset)]
        known = {run.key: run for run in here if run.request["input"] == "noisy"}  # an image is shown as its probes were taught
        if known and st.session_state.get("run") in {run.key for run in here} - set(known):
            st.info("The run that was asked for showed the network clean images. Here an image is noised; another run's probes read it.")
        if not known:
            st.info(
                "Nothing has been measured for this model and data yet, so there are no probes to read images with. "
                "Measure it on the Curve page first.",
                icon=":material/science:",
            )
            return
        _run(known, bench)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


def _run(known: dict[str, Run], bench: lab.Bench) -> None:
    if st.session_state.get("run") not in known:
        st.session_state["run"] = next(iter(known))
    if len(known) > 1:
        st.selectbox("Probes of run", list(known), key="run", format_func=lambda key: known[key].title, persist_state="session")
    opening.notes()
    study = known[st.session_state["run"]].study
    assert study is not None
    axis = lab.axis()
    link.keep("axis", list(lab.AXES))
    for name, value in {"backend": bench.backend, "dataset": bench.dataset, "run": study.key, "block": bench.block}.items():
        link.put(name, value)
    result = study.result()
    if (wanted := st.session_state.pop("level-wanted", None)) is not None:
        st.session_state["level"] = wanted
    sigma = lab.level(study.card, study.key, result["verdict"]["peak_sigma"])
    link.put("sigma", f"{sigma:.6g}")
    block, own = bench.block, result["headline"].split("/")[1]
    if block not in (None, *study.facts["request"]["blocks"]):
        st.info(f"Block {block} was not measured in this run; the block that validation images chose is shown.")
        block = None
    block = block or own
    teaching = teach.switch() == teach.TEACH
    if not teaching:
        adding.controls(study, bench.device)
    given, asked = album.examples(study, bench.device)
    shots = album.mine() | given
    if (not shots or teaching) and asked.answer is None:
        _wait(asked, study)
        return
    if not shots and not teaching:
        st.info(
            "The data of this run are not on this machine, and no images were generated with it: add an image above.",
            icon=":material/add_photo_alternate:",
        )
        return
    if teaching:
        teach.show(study, given, block, axis, bench.device)
        return
    probes = taught.choose(study)
    shot = album.choose(shots)
    image, cut = adding.frame(shot, study.card.resolution)
    levels = study.facts["levels"]
    level = min(range(len(levels)), key=lambda i: abs(math.log(levels[i]["sigma"] / sigma)))
    _look(probes, shot, image, cut, block, level, axis, bench)


def _wait(asked: asking.Asked, study: Study) -> None:
    """While the worker starts: what will be here."""
    if asked.error:
        st.error(str(asked.error), icon=":material/broken_image:")
        st.button("Try again", on_click=asking.forget)
        return
    with st.container(key="skeleton", height=360, border=True):
        waiting(asked, f"{study.card.name} is being opened. This takes a few seconds, once.")


def _look(  # type: ignore[no-untyped-def]
    probes: Probes, shot: album.Shot, image, cut: str, block: str, level: int, axis: str, bench: lab.Bench
) -> None:
    study, data, device = probes.study, probes.data(image), bench.device
    asked = asking.look(probes.question("view"), device, data, patience=1.5)
    if asked.error or asked.answer is None:
        _wait(asked, study)
        return
    colours = asking.look({"ask": "colours", "study": study.key}, device, save({"image": image}), patience=1.5)
    if colours.answer is None:
        _wait(colours, study)
        return
    draws = asking.look(probes.question("draws"), device, data, patience=0.6)
    said, back = asked.answer
    looked = Looked(
        study=study,
        image=image,
        name=shot.name,
        view=load(back),
        colours=load(colours.answer[1]),
        draws=load(draws.answer[1]) if draws.answer else None,
        fit=said["fit"],
        block=block,
        level=level,
        axis=axis,
        label=probes.members.get(shot.key) if probes.arrays else shot.labels.get(study.facts["receipt"]["label_set"]),
        probes=probes,
    )
    leaflet.begin()
    if seen.unlike(looked):
        adding.instead(study)
    seen.numbers(looked)
    if shot.key in probes.members:
        st.caption("The taught probes were fitted with this image, so that they read it right says little.")
    seen.here(looked)
    lab.axis_switch()
    seen.strip(looked)
    seen.curves(looked)
    if draws.error:
        st.error(str(draws.error), icon=":material/error:")
    elif not draws.ended.is_set():
        waiting(draws, "Seven more draws of noise are being read …")
    seen.blocks(looked)
    pace = draws.answer[0]["pace"] if draws.answer else None
    seen.neighbours(looked, device, pace)
    if pace is not None:
        st.session_state.setdefault("pace", {})[study.key] = pace
    maps.show(looked, device, pace)
    leaflet.buttons(f"{shot.name} in {study.card.name}", image_receipt.facts(looked, shot))
    state = {
        "backend": bench.backend,
        "dataset": bench.dataset,
        "run": study.key,
        "block": block,
        "sigma": f"{looked.sigma:.6g}",
        "axis": axis,
    }
    image_receipt.show(looked, shot, cut, link.link(state))


page()
