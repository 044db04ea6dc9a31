"""The view Memorization of Why, without a browser, of a made-up study."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis import catalog
from app.components.memorized_form import moments

from .. import memorized_toy as toy
from .test_start import texts

KEY = "toy0123456789abc"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own, where nothing ships."""
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(catalog, "assets", lambda kind: tmp_path / "assets" / kind)
    st.cache_data.clear()
    return tmp_path / "memorization"


def page() -> None:
    from app.components import link, memorized

    memorized.show()
    link.arrived()


def page_with_form() -> None:
    import streamlit as st

    from app.components import memorized

    memorized.show(lambda asked: st.session_state.update(asked=asked), lambda asked: f"It takes {asked['seeds']} hours.")


def visit(script: object = page, **query: str) -> AppTest:
    app = AppTest.from_function(script, default_timeout=60)  # type: ignore[arg-type]
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def alts(app: AppTest) -> list[str]:
    return [chart.proto.alt for chart in app.get("plotly_chart")]


def test_without_a_study_it_says_what_to_do(place: Path) -> None:
    app = visit()
    assert not app.exception
    assert "python -m analysis study memorization --dataset digits" in app.info[0].value
    assert not app.expander


def test_it_opens_with_the_finding_and_says_that_it_was_expected(place: Path) -> None:
    study = toy.make(place / KEY)
    app = visit()
    assert not app.exception
    assert study.sentence in texts(app)
    assert "As arXiv 2502.05743 found" in app.success[0].value
    assert app.metric[0].value == "decreasing"  # of the smallest set, at the last moment
    assert "A missing hump alone proves nothing" in texts(app)


def test_data_that_do_not_show_the_expected_say_so(place: Path) -> None:
    last = {"block": toy.HEADLINE, "seen": toy.SEEN[-1], "weights": "ema", "labelled": "outside", "against": "64", "size": "fresh"}
    toy.make(place / KEY, differences=[last | {"difference": 0.01, "low": -0.01, "high": 0.03}], expected={"why": "Training was short."})
    app = visit()
    assert not app.success
    assert "is not shown here" in app.warning[0].value
    assert "Training was short." in app.warning[0].value


@pytest.mark.parametrize(("shown", "figures"), [("noise", 2), ("training", 2), ("made", 3), ("sharing", 1)])
def test_every_figure_has_a_finding_as_its_alt_text_and_below_it(place: Path, shown: str, figures: int) -> None:
    toy.make(place / KEY)
    app = visit(known=shown)
    assert not app.exception
    assert not app.error
    assert len(alts(app)) == figures
    assert all(alt.endswith(".") and alt in texts(app) for alt in alts(app))


def test_one_network_and_many_are_drawn_in_the_block_that_is_chosen(place: Path) -> None:
    toy.make(place / KEY)
    for block, other in ((toy.HEADLINE, toy.BLOCKS[0]), (toy.BLOCKS[0], toy.HEADLINE)):
        app = visit(known="sharing", knownblock=block)
        chart = json.loads(app.get("plotly_chart")[0].proto.spec)
        assert {"one network for all levels", "a network a level"} <= {trace.get("name") for trace in chart["data"]}
        assert f"In block {block} the one network" in alts(app)[0]
        assert other not in alts(app)[0]


def test_samples_stand_beside_their_nearest_training_images_with_the_ratio_in_words(place: Path) -> None:
    toy.make(place / KEY)
    body = " ".join(element.proto.body for element in visit(known="made", trainset="64").get("html"))
    assert body.count("<img") == 12
    assert 'alt="Sample 1 beside its nearest training image: ratio 0.1' in body
    assert "no copy" not in body.split("Sample 2")[0].split("alt=")[1]
    assert "no copy" in " ".join(element.proto.body for element in visit(known="made", trainset="fresh").get("html"))


def test_rules_that_stop_are_a_table_and_patience_is_a_choice(place: Path) -> None:
    toy.make(place / KEY)
    app = visit(known="training", trainset="1024")
    table = app.dataframe[0].value
    assert table.signal.iloc[0] == "peak of the curve"
    app.segmented_control(key="patience").set_value("3")
    later = app.run().dataframe[0].value
    assert not app.exception
    assert (later["stops after"] == "never").sum() >= (table["stops after"] == "never").sum()
    assert app.query_params["patience"] in ("3", ["3"])
    assert any("patience=3" in code.value for code in app.code)
    pd.testing.assert_frame_equal(visit(known="training", trainset="1024", patience="3").dataframe[0].value, later)


def test_run_waits_until_it_is_known_what_it_takes(place: Path) -> None:
    def unknown() -> None:
        from app.components import memorized

        memorized.show(lambda asked: None, lambda asked: None)

    toy.make(place / KEY)
    app = AppTest.from_function(unknown, default_timeout=60)
    app.session_state["known-ask"] = True
    app.run()
    assert "is being timed" in texts(app)
    assert app.button(key="known-ask-run").disabled


def test_a_link_restores_the_view_and_the_receipt_says_it(place: Path) -> None:
    toy.make(place / KEY)
    app = visit(known="training", trainset="1024", moment="16384", knownblock="mid.res0")
    assert (app.session_state["trainset"], app.session_state["moment"], app.session_state["knownblock"]) == ("1024", "16384", "mid.res0")
    code = [one.value for one in app.code]
    for part in ("view=memorization", "known=training", "trainset=1024", "moment=16384", "knownblock=mid.res0", f"memorization={KEY}"):
        assert part in code[0]
    assert shlex.split(code[1])[:5] == ["python", "-m", "analysis", "study", "memorization"]
    assert "2310.02557" in code[3]


def test_what_a_link_says_wrong_is_named(place: Path) -> None:
    toy.make(place / KEY)
    app = visit(trainset="17", moment="5")
    said = " ".join(str(one.value) for one in app.warning)
    assert "trainset = '17'" in said
    assert "moment = '5'" in said
    assert not app.exception


def test_curves_of_one_moment_need_no_slider(place: Path) -> None:
    toy.make(place / KEY)
    app = visit(knownweights="ema-subset", known="training")
    assert not app.exception
    assert not app.select_slider
    assert "the one moment" in texts(app)
    assert "cannot be asked of one moment" in texts(app)


@pytest.mark.parametrize("lost", ["generation", "frechet", "halves", "losses", "sharing"])
@pytest.mark.parametrize("shown", ["noise", "training", "made"])
def test_a_study_without_a_part_shows_the_others(place: Path, lost: str, shown: str) -> None:
    toy.make(place / KEY, leave_out=(f"{lost}.parquet", "samples.safetensors"))
    app = visit(known=shown)
    assert not app.exception
    assert not app.error


def test_a_study_of_another_version_is_a_sentence(place: Path) -> None:
    toy.make(place / KEY)
    (place / KEY / "memorization.json").write_text('{"format": 9, "key": "toy0123456789abc"}')
    app = visit()
    assert not app.exception
    assert "of another version" in app.error[0].value


def test_an_altered_table_is_a_sentence(place: Path) -> None:
    toy.make(place / KEY)
    (place / KEY / "curve.parquet").write_bytes(b"")
    assert "does not match its checksum" in visit().error[0].value


def opened_form() -> AppTest:
    app = visit(page_with_form)
    app.session_state["known-ask"] = True
    return app.run()


def test_the_form_says_the_cost_before_its_button_and_the_button_asks(place: Path) -> None:
    app = opened_form()
    app.multiselect(key="known-ask-sizes").set_value(["64", "16"])
    app.run()
    assert "6 networks, each meeting 65,536 training images" in texts(app)
    assert "It takes 3 hours." in texts(app)
    app.button(key="known-ask-run").click()
    app.run()
    assert app.session_state["asked"] == {"dataset": "digits", "sizes": [16, 64], "seeds": 3, "seen": moments(65_536)}


def test_the_form_names_a_size_that_is_none(place: Path) -> None:
    app = opened_form()
    app.multiselect(key="known-ask-sizes").set_value(["many"])
    app.run()
    assert "'many'" in app.warning[0].value
    assert not app.button


def test_each_moment_is_twice_the_one_before() -> None:
    assert moments(16_384) == [2048, 4096, 8192, 16384]
