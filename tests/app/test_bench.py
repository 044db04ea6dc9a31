"""The lab bench: choose a model or data that are not here, look them up, fetch with progress, cancel, offline; cards; a folder of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import catalog, dropped, hub
from analysis.jobs import NETWORK, Jobs
from analysis.workers import work
from app.components import bring, fetching
from tests.families import epsilon
from tests.standin import Fault, Standin, pretending, read_folder
from tests.test_decoded import PIXELS, png, table
from tests.test_dropped import PETS

MAIN = Path(__file__).parents[2] / "app" / "main.py"
MODEL, PETS_ID = "someone/tiny-ddpm", "someone/pets"


@pytest.fixture
def standin(answered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """The hub, with a model and a data set; what is submitted waits until a test carries it out."""
    monkeypatch.setattr(fetching, "start_worker", lambda *_: None)
    with pretending(tmp_path, monkeypatch) as server:
        server.repo(MODEL, read_folder(epsilon(tmp_path / "made")))
        rows = table(tmp_path / "train.parquet", [png(image) for image in PIXELS], kind=["x", "y"] * 20, size=list(range(40)))
        server.repo(PETS_ID, {"data/train.parquet": rows.read_bytes()}, "dataset")
        yield server


def visit(page: str = "curve", **state: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=90)
    for name, value in {"backend": "digits-ddpm", "dataset": "digits", **state}.items():
        app.session_state[name] = value
    return app.switch_page(f"app_pages/{page}.py").run()


def press(page: AppTest, label: str) -> AppTest:
    button = next(one for one in page.button if one.label.startswith(label))
    return button.click().run()


def said(page: AppTest) -> str:
    return " ".join(
        str(one.value) for kind in ("markdown", "caption", "info", "error", "warning", "subheader", "success") for one in page.get(kind)
    )


def table_of(root: Path) -> Jobs:
    return Jobs(root)


@pytest.mark.parametrize("page", ["curve", "image", "map", "generate"])
def test_a_model_that_is_not_here_can_be_looked_up_on_every_page(page: str, standin: Standin) -> None:
    shown = visit(page, backend=MODEL)
    assert not shown.exception
    assert f"{MODEL} is not on this machine" in said(shown)
    assert not standin.asked  # nothing is asked of the hub until a person does


def test_a_model_is_looked_up_fetched_and_there(standin: Standin, answered: Path) -> None:
    page = press(visit(backend=MODEL), "Look it up")
    metrics = {one.label: one.value for one in page.metric}
    assert metrics["Licence"] == "apache-2.0"
    assert metrics["Size"] == metrics["To fetch"] != "0 B"
    assert not standin.of_files()
    page = press(page, "Fetch")
    (job,) = table_of(answered).downloads()
    assert (job.state, job.request.repo_id) == ("submitted", MODEL)
    assert any(one.label == "Cancel" for one in page.button)
    work(answered, NETWORK, idle=0.1, processes=1)
    page.run()
    assert not page.exception
    assert "is not on this machine" not in said(page)
    assert MODEL in page.sidebar.selectbox(key="backend").options
    assert "apache-2.0" in " ".join(one.value for one in page.sidebar.caption)
    assert catalog.card(MODEL).repo_id == MODEL


def test_a_download_shows_how_far_it_is_and_can_be_cancelled_and_gone_on_with(standin: Standin, answered: Path) -> None:
    page = press(press(visit(backend=MODEL), "Look it up"), "Fetch")
    jobs = table_of(answered)
    job = jobs.take(NETWORK)
    assert job
    jobs.tell(job.id, 250_000, 1_000_000, "unet.safetensors", 3.0)
    page.run()
    assert "250 kB of 1.0 MB, 3 seconds left: unet.safetensors" in [one.proto.text for one in page.get("progress")]
    press(page, "Cancel")
    assert jobs.get(job.id).state == "cancelled"
    page.run()
    assert "Cancelled after 250 kB of 1.0 MB. What came is kept." in said(page)
    press(page, "Go on")
    assert jobs.downloads()[0].state == "submitted"


def test_what_the_hub_refuses_and_no_network_are_sentences(standin: Standin, answered: Path) -> None:
    assert "does not have the model someone/else" in said(press(visit(backend="someone/else"), "Look it up"))
    standin.repos["model", MODEL].gated = True
    standin.faults.append(Fault(401, {"X-Error-Code": "GatedRepo"}, api=True))
    assert "is gated" in said(press(visit(backend=MODEL), "Look it up"))
    standin.close()
    page = press(visit(backend=MODEL), "Look it up")
    assert not page.exception
    assert "does not answer" in said(page)


def test_offline_what_was_fetched_is_there(standin: Standin, answered: Path) -> None:
    hub.fetch(hub.look_up(MODEL))
    standin.close()
    page = visit(backend=MODEL)
    assert not page.exception
    assert "is not on this machine" not in said(page)
    assert page.sidebar.selectbox(key="backend").value == MODEL


def test_a_download_that_failed_says_why(standin: Standin, answered: Path) -> None:
    page = press(press(visit(backend=MODEL), "Look it up"), "Fetch")
    standin.faults.extend(Fault(flip=True) for _ in range(1))
    work(answered, NETWORK, idle=0.1, processes=1)
    page.run()
    assert "came with a wrong checksum" in said(page)
    press(page, "Go on")
    work(answered, NETWORK, idle=0.1, processes=1)
    assert hub.folder(MODEL)


def test_data_of_the_hub_are_fetched_and_their_columns_chosen(standin: Standin, answered: Path) -> None:
    page = press(press(visit(dataset=PETS_ID), "Look it up"), "Fetch")
    work(answered, NETWORK, idle=0.1, processes=1)
    page.run()
    assert "is not on this machine" not in said(page)
    page = press(page, "About this data")
    page.run()
    page = press(page, "About this data")
    assert "40 train" in " ".join(one.proto.body for one in page.get("html"))
    page.multiselect(key="data-labels").set_value(["size"]).run()
    page = press(page, "Use these columns")
    assert page.session_state["dataset"] == f"{PETS_ID}?image=image&label=size"


def test_the_models_card_says_that_it_fits_and_how_long_a_sweep_takes(answered: Path) -> None:
    page = visit()
    for _ in range(3):
        page = press(page, "About this model")
    told = " ".join(one.proto.body for one in page.get("html"))
    assert all(word in told for word in ("licence", "noise levels", "15, ", "parameters"))
    assert "It fits: it needs" in said(page)
    assert "A sweep of 16 noise levels, 3 draws of noise and 10 labels a class" in said(page)


def test_a_folder_becomes_data_of_this_session(answered: Path) -> None:
    place = dropped.keep(PETS, answered)
    page = visit()
    page.session_state[bring.MINE] = [str(place)]
    page.session_state["brought-now"] = str(place)
    page.run()
    assert not page.exception
    assert page.sidebar.selectbox(key="dataset").value == str(place)
    assert "My pets" in page.sidebar.selectbox(key="dataset").options
    other = visit()
    assert "My pets" not in other.sidebar.selectbox(key="dataset").options


def test_a_dropped_folder_is_kept_and_put_on_the_bench(answered: Path) -> None:
    page = press(visit(), "Bring a folder")
    uploader = page.get("file_uploader")[0]
    uploader.set_value([(name, content, "image/png") for name, content in PETS]).run()
    assert not page.exception
    page.run()
    chosen = page.session_state["dataset"]
    assert dropped.is_dropped(chosen, answered)
    assert Path(chosen).name == "My pets.zip"
