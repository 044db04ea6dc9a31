"""A model of latents on the bench: what its card says, a prompt in the form, its axis and pictures on the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.jobs import Jobs
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep
from tests import latents

from .test_bench import press, said, visit


@pytest.fixture
def place(answered: Path, tmp_path: Path) -> str:
    return str(latents.stable(tmp_path / "models" / "tiny-stable"))


def test_the_card_says_what_noise_is_added_to_and_which_sides_are_read(place: str) -> None:
    page = press(visit(backend=place, dataset="shapes:240"), "About this model")
    words = said(page)
    assert "8×8×4 numbers, which a second network (its VAE) makes of an image: noise is added to these" in words
    assert "multiples of 4 up to 4096 pixels" in words
    assert "features are read with null" in words
    assert "prompt:" in words
    assert "36 more places: queries, keys, values, outputs, residual branches" in words


def test_a_prompt_and_what_lies_inside_a_block_are_asked_for(place: str, answered: Path) -> None:
    page = visit(backend=place, dataset="shapes:240", measuring=True)  # type: ignore[arg-type]
    page.text_input(key="ask-prompt").set_value("a red fox").run()
    page.multiselect(key="ask-inside").set_value(["down0.res0.layer0.self.q"]).run()
    page.number_input(key="ask-levels").set_value(3).run()
    page = press(page, "Run")
    assert not page.exception
    (job,) = Jobs(answered).list()
    request = SweepRequest.model_validate(job.request)
    assert (request.condition, request.blocks) == ("prompt:a red fox", ("down0.res0.layer0.self.q",))


@pytest.mark.slow
def test_pages_say_that_sigma_is_of_the_latents(place: str, answered: Path) -> None:
    asked = SweepRequest(
        backend=place, dataset="shapes:240", labels_per_class=(2,), label_draws=2, eps_draws=2, levels=3, n_train=60, n_test=12
    )
    study = sweep(asked, Store(answered))
    page = visit(backend=place, dataset="shapes:240", run=study.key)
    assert not page.exception
    assert any("σ of the latents = " in one.value for one in page.sidebar.caption)
    pictured = visit("image", backend=place, dataset="shapes:240", run=study.key)
    assert not pictured.exception
    assert "Read as" in str([metric.label for metric in pictured.metric])
