"""Questions about the features of a study: the lines that read one, what they score without labels, and their SNR."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from . import catalog, registry, snr_measuring, unlabelled
from .advice import Choice
from .backends.base import Excerpt
from .errors import InvalidRequest, UnknownName
from .lane import Answer, Question, Steps, Teller
from .own import Own
from .planning import Bench
from .steps import relay
from .studies import Study

LOOK = 0.2  # seconds of work between two answers


def snippet(study: Study, block: str, pooling: str, level: int) -> str | None:
    """The lines of the model family's own library that read a study's feature at the place of a level; None where it has none.

    Raises UnknownName for a block that the model does not have, InvalidRequest for a level that the study does not have.
    """
    known = {one.name: one for one in study.card.every}
    if block not in known:
        raise UnknownName("block", block, known)
    if not 0 <= level < len(study.facts["levels"]):
        raise InvalidRequest(f"level is {level}; allowed: 0 to {len(study.facts['levels']) - 1}.")
    at, request = study.facts["levels"][level], study.facts["request"]
    excerpt = Excerpt(
        place=place(study),
        card=study.card,
        block=known[block],
        sigma=at["sigma"],
        timestep=at["timestep"],
        pooling=pooling,
        draws=request.get("average_draws", 1),
        clean=request["input"] == "clean",
        condition=request["condition"],
        precision=study.precision,
    )
    found: str | None = registry.get("backends", study.card.family).snippet(excerpt)
    return found


def snippet_of(study: Study, choice: Choice) -> str | None:
    """The lines that read a recipe's choice."""
    return snippet(study, choice.block, choice.pooling, choice.level)


def place(study: Study) -> str:
    """Where the study's model is: its hub id, else its folder here, else as it was named."""
    try:
        return study.card.repo_id or str(catalog.model_folder(study.facts["request"]["backend"]).absolute())
    except UnknownName:
        return str(study.facts["request"]["backend"])


class Advising:
    """The answers by name."""

    def __init__(self, own: Own) -> None:
        self.own = own
        self.answers: dict[str, Teller] = {"snippet": self.snippet, "unlabelled": self.unlabelled, "snr": self.snr}

    def snippet(self, question: Question, data: bytes) -> Answer:
        """`lines` that read the feature of a block, pooling and level, or null."""
        study = self.own.study(question)
        return {"lines": snippet(study, str(question["block"]), str(question["pooling"]), int(question["level"]))}, b""

    def unlabelled(self, question: Question, data: bytes) -> Steps:
        """The table of scores as a Parquet file, and how it came about; a study in the store keeps it too.

        Where it would take over `most` seconds, only what it costs. Raises InvalidRequest where the data are not on this machine.
        """
        study, bench = self._found(question)
        count, most = int(question.get("count", unlabelled.COUNT)), question.get("most")
        if most is not None and (cost := unlabelled.cost(bench, count))["seconds"] > most:
            return cost, b""
        began = time.perf_counter()

        def say(step: unlabelled.Step) -> tuple[dict[str, Any], bytes]:
            return {"done": step[0], "of": step[1], "doing": step[2]}, b""

        table: pd.DataFrame = yield from relay(unlabelled.measuring(bench, count), say, LOOK)
        found, said = unlabelled.to_bytes(table), unlabelled.facts(bench, count, time.perf_counter() - began)
        if study.folder.parent == self.own.store.root / "studies":  # one that ships stays as it is
            unlabelled.keep(study, found, said)
        return said, found

    def snr(self, question: Question, data: bytes) -> Steps:
        """The table of SNRs as a Parquet file, and how it came about with the peaks; a study in the store keeps it too.

        Where it would take over `most` seconds, only what it costs. Raises InvalidRequest where the data are not on this machine.
        """
        study, bench = self._found(question)
        count, most = int(question.get("count", snr_measuring.COUNT)), question.get("most")
        if most is not None and (cost := snr_measuring.cost(bench, count))["seconds"] > most:
            return cost, b""
        began = time.perf_counter()

        def say(step: unlabelled.Step) -> tuple[dict[str, Any], bytes]:
            return {"done": step[0], "of": step[1], "doing": step[2]}, b""

        table, peaks = yield from relay(snr_measuring.measuring(study, bench, count), say, LOOK)
        found, said = unlabelled.to_bytes(table), snr_measuring.facts(bench, count, peaks, time.perf_counter() - began)
        if study.folder.parent == self.own.store.root / "studies":  # one that ships stays as it is
            snr_measuring.keep(study, found, said)
        return said, found

    def _found(self, question: Question) -> tuple[Study, Bench]:
        study = self.own.study(question)
        if (bench := self.own.bench(study)) is None:
            raise InvalidRequest(
                f"The data set of {study.name} is not on this machine: nothing can be said of its features. Put the data there."
            )
        unlabelled.check(study, bench)
        return study, bench
