"""The lab bench: choose a model or data that are not here, look them up, fetch with progress, cancel, offline; cards; a folder of one's own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from analysis import answers as worker_answers
from analysis import catalog, devices, dropped, hub
from analysis.datasets import open_dataset
from analysis.errors import NoisescopeError
from analysis.jobs import NETWORK, Jobs
from analysis.lane import Answer
from analysis.specs import DownloadRequest, SweepRequest
from analysis.workers import work
from app.components import asking, bench, bring, dialogs
from tests.families import epsilon
from tests.standin import Fault, Standin, pretending, read_folder
from tests.test_decoded import PIXELS, png, table
from tests.test_dropped import PETS

MAIN = Path(__file__).parents[2] / "app" / "main.py"
MODEL, PETS_ID = "someone/tiny-ddpm", "someone/pets"


@pytest.fixture
def standin(answered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """The hub, with a model and a data set; what is submitted waits until a test carries it out."""
    with pretending(tmp_path, monkeypatch) as server:
        server.repo(MODEL, {**read_folder(epsilon(tmp_path / "made")), "README.md": b"---\nlicense: apache-2.0\n---\nTiny."})
        rows = table(tmp_path / "train.parquet", [png(image) for image in PIXELS], kind=["x", "y"] * 20, colour=list("rgbw") * 10)
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
    kinds = ("markdown", "caption", "info", "error", "warning", "subheader", "success")
    return " ".join([*(str(one.value) for kind in kinds for one in page.get(kind)), *(one.proto.body for one in page.get("html"))])


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
    assert all("config.json" in path for _, path, _ in standin.of_files())
    page = press(page, "Fetch")
    (job,) = Jobs(answered).downloads()
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
    jobs = Jobs(answered)
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


def of(page: str) -> AppTest:
    """A dialog by itself, drawn anew each time."""
    return AppTest.from_string(page, default_timeout=90).run()


def until(page: AppTest, words: str) -> AppTest:
    """The page once it says so."""
    for _ in range(200):
        if words in said(page):
            return page
        assert not page.exception
        time.sleep(0.1)
        page.run()
    raise AssertionError(said(page))


def test_data_of_the_hub_are_fetched_and_their_columns_chosen(standin: Standin, answered: Path) -> None:
    page = press(press(visit(dataset=PETS_ID), "Look it up"), "Fetch")
    work(answered, NETWORK, idle=0.1, processes=1)
    page.run()
    assert "is not on this machine" not in said(page)
    dialog = until(of(f"from app.components import about; about.data({PETS_ID!r}, 'cpu')"), "40 train")
    assert "kind (2 classes), colour (4 classes)" in said(dialog)
    dialog.multiselect(key="data-labels").set_value(["colour"]).run()
    press(dialog, "Use these columns")
    page.session_state["brought-now"] = dialog.session_state["brought-now"]
    page.run()
    assert page.session_state["dataset"] == f"{PETS_ID}?image=img&label=colour"


def test_data_that_are_not_there_are_a_sentence_in_their_card(answered: Path) -> None:
    until(of("from app.components import about; about.data('nobody', 'cpu')"), "Unknown dataset 'nobody'")


def test_the_models_card_says_that_it_fits_and_how_long_a_sweep_takes(answered: Path) -> None:
    page = press(visit(), "About this model")
    assert "digits-ddpm" in said(page)
    code = "from analysis import catalog; from app.components import about; about.model(catalog.card('digits-ddpm'), 'digits-ddpm', 'digits', 'cpu')"
    dialog = until(of(code), "A sweep of 16 noise levels, 3 draws of noise and 10 labels a class")
    assert all(word in said(dialog) for word in ("licence", "noise levels", "15, ", "parameters", "It fits: it needs"))


@pytest.mark.parametrize(
    ("label", "stands"), [("About this model", "It fits"), ("About this data", "898 train"), ("Bring a folder", "Up to ")]
)
def test_a_dialog_stays_open_when_its_page_is_drawn_again(label: str, stands: str, answered: Path) -> None:
    page = until(press(visit(), label), stands)
    assert stands in said(page.run())


def test_a_dialog_goes_with_its_page(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = ["/curve"]
    monkeypatch.setattr(dialogs, "_page", lambda: place[0])
    page = press(visit(), "Bring a folder")
    assert "Up to " in said(page.run())
    place[0] = "/map"
    assert "Up to " not in said(page.run())
    place[0] = "/curve"
    assert "Up to " not in said(page.run())


def test_a_refused_question_is_not_asked_again_for_as_long_as_a_dialog_is_open(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(_root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        asked.append(question["ask"])
        raise NoisescopeError("No.")

    monkeypatch.setattr(asking, "ask", refuse)
    page = press(visit(), "About this model")
    for _ in range(5):
        time.sleep(0.1)
        page.run()
    assert asked.count("room") == 1


def test_a_model_that_does_not_fit_says_so(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "room", lambda _: 1_000)
    monkeypatch.setattr(worker_answers, "room", lambda _: 1_000)
    code = "from analysis import catalog; from app.components import about; about.model(catalog.card('digits-ddpm'), 'digits-ddpm', 'digits', 'cpu')"
    until(of(code), "It does not fit: it needs 4.5 MB for one image, and cpu has 1 kB free")


def test_a_folder_becomes_data_of_this_session(answered: Path) -> None:
    place = dropped.keep(PETS, answered)
    page = visit()
    page.session_state[bring.MINE] = [str(place)]
    page.session_state["brought-now"] = str(place)
    page.run()
    assert not page.exception
    assert page.sidebar.selectbox(key="dataset").value == str(place)
    assert "My pets" in page.sidebar.selectbox(key="dataset").options
    Jobs(answered).submit(SweepRequest(dataset=str(place)))
    assert "My pets" in page.run().sidebar.selectbox(key="dataset").options
    other = visit()
    assert "My pets" not in other.sidebar.selectbox(key="dataset").options
    listed = visit("runs").dataframe[0].value
    assert "My pets" in list(listed["data"])
    assert str(answered) not in listed.to_string()


def test_a_chosen_column_leaves_a_folder_what_it_is(answered: Path) -> None:
    place = dropped.keep(PETS, answered)
    before = time.time() - dropped.KEPT + 60
    os.utime(place.parent, (before, before))
    page = visit()
    page.session_state[bring.MINE] = [str(place)]
    page.session_state["brought-now"] = f"{place}?label=label"
    page.run()
    page.run()
    assert not page.exception
    assert place.parent.stat().st_mtime > before + 30
    os.utime(place.parent, (before - 120, before - 120))
    dropped.forget(answered, used=[f"{place}?label=label"])
    assert place.exists()
    dropped.forget(answered)
    assert not place.exists()


def test_what_was_refused_is_asked_anew_once_it_is_there(standin: Standin, answered: Path) -> None:
    page = until(press(visit(dataset=PETS_ID), "About this data"), "no data set of the hub was fetched under that id")
    hub.fetch(hub.look_up(PETS_ID, kind="dataset"))
    until(press(page, "About this data"), "40 train")


def test_columns_that_were_chosen_can_be_chosen_anew(standin: Standin, answered: Path) -> None:
    hub.fetch(hub.look_up(PETS_ID, kind="dataset"))
    dialog = until(of(f"from app.components import about; about.data('{PETS_ID}?image=img&label=colour', 'cpu')"), "40 train")
    assert dialog.multiselect(key="data-labels").value == ["colour"]
    assert dialog.multiselect(key="data-labels").options == ["kind", "colour"]


@pytest.mark.slow
def test_a_newer_commit_is_looked_for_and_fetched(standin: Standin, answered: Path) -> None:
    first = hub.fetch(hub.look_up(MODEL))
    page = visit(backend=MODEL)
    repo = standin.repos["model", MODEL]
    newest = repo.push({**repo.commits[repo.branches["main"]], "README.md": b"---\nlicense: mit\n---\nNewer."})
    page.session_state["newer"] = ("model", MODEL)
    page = press(page.run(), "Look it up")
    assert f"main of {MODEL} has moved" in said(page)
    page = press(page, "Fetch")
    work(answered, NETWORK, idle=0.1, processes=1)
    assert hub.folder(MODEL) != first
    assert hub.find(MODEL).commit == newest
    page = press(page.run(), "Close")
    assert "on the hub" not in said(page)


@pytest.mark.parametrize(
    "given",
    [f" {MODEL} ", f"https://huggingface.co/{MODEL}", f"https://huggingface.co/{MODEL}/", f"https://huggingface.co/datasets/{MODEL}"],
)
def test_a_pasted_address_is_an_id(given: str) -> None:
    assert bench.tidy(given) == MODEL


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "b" * 300, "\x00"])
def test_a_name_that_no_file_can_have_is_a_sentence(name: str, answered: Path) -> None:
    page = visit(backend=name, dataset=name)
    assert not page.exception


def test_a_dropped_folder_is_kept_and_put_on_the_bench(answered: Path) -> None:
    dialog = of("from app.components import bring; bring.ask()")
    assert "A folder of class folders" in dialog.get("file_uploader")[0].label
    dialog.get("file_uploader")[0].set_value([(name, content, "image/png") for name, content in PETS]).run()
    assert not dialog.exception
    chosen = dialog.session_state["brought-now"]
    assert dropped.is_dropped(chosen, answered)
    assert Path(chosen).name == "My pets.zip"
    assert len(open_dataset(chosen, 8).ids) == len(PETS)


def test_a_folder_of_nothing_is_a_sentence(answered: Path) -> None:
    dialog = of("from app.components import bring; bring.ask()")
    dialog.get("file_uploader")[0].set_value([(".hidden/x.png", b"x", "image/png")]).run()
    assert "The folder holds no file" in said(dialog)


def test_downloads_are_listed_with_the_runs(standin: Standin, answered: Path) -> None:
    jobs = Jobs(answered)
    assert "Downloads" not in said(visit("runs"))
    done = jobs.submit(DownloadRequest(repo_id=MODEL))
    work(answered, NETWORK, idle=0.1, processes=1)
    jobs.submit(DownloadRequest(repo_id="someone/else"))
    work(answered, NETWORK, idle=0.1, processes=1)
    waits = jobs.submit(DownloadRequest(repo_id=PETS_ID, repo_kind="dataset"))
    page = visit("runs")
    assert not page.exception
    assert f"**{MODEL}** · finished" in said(page)
    assert "does not have the model someone/else" in said(page)
    assert any(one.proto.text.startswith(f"Fetching {PETS_ID}: Waiting") for one in page.get("progress"))
    page.button(key=f"forget-{done.id}").click().run()
    assert f"**{MODEL}**" not in said(page)
    page.button(key=f"cancel-{waits.id}").click().run()
    assert jobs.get(waits.id).state == "cancelled"


def test_an_encoder_that_is_not_here_is_looked_up_where_a_run_is_asked_for(standin: Standin, answered: Path) -> None:
    standin.repo("someone/vit", {"config.json": b"{}", "model.safetensors": b"x" * 9000})
    page = visit()
    page.toggle(key="measuring").set_value(True).run()
    page.text_input(key="ask-encoders").set_value("someone/vit").run()
    assert not page.exception
    assert "someone/vit is not on this machine" in said(page)
    press(press(page, "Look it up"), "Fetch")
    (job,) = Jobs(answered).downloads()
    assert (job.request.repo_kind, job.request.repo_id) == ("encoder", "someone/vit")
    work(answered, NETWORK, idle=0.1, processes=1)
    assert "is not on this machine" not in said(page.run())


@pytest.mark.slow
def test_a_checkpoint_of_several_is_named_in_the_id(standin: Standin, answered: Path) -> None:
    standin.repo("someone/adm", {"64.pt": b"x" * 9000, "256.pt": b"y" * 9000})
    page = press(visit(backend="someone/adm:256.pt"), "Look it up")
    press(page, "Fetch")
    (job,) = Jobs(answered).downloads()
    assert job.request.checkpoint == "256.pt"
    work(answered, NETWORK, idle=0.1, processes=1)
    assert (hub.folder("someone/adm") / "256.pt").is_file()
    assert "someone/adm is not on this machine" in said(visit(backend="someone/adm:64.pt"))
    page = visit(backend="someone/adm:256.pt")
    assert not page.exception
    assert "is not on this machine" not in said(page)


def test_of_a_data_set_one_configuration_is_fetched_where_one_is_named(standin: Standin, answered: Path, tmp_path: Path) -> None:
    rows = table(tmp_path / "r.parquet", [png(image) for image in PIXELS], kind=["x", "y"] * 20).read_bytes()
    standin.repo("someone/sizes", {"small/train.parquet": rows, "large/train.parquet": rows + b""}, "dataset")
    press(press(visit(dataset="someone/sizes?config=small"), "Look it up"), "Fetch")
    (job,) = Jobs(answered).downloads()
    assert job.request.config == "small"
    work(answered, NETWORK, idle=0.1, processes=1)
    assert {file.name for file in hub.find("someone/sizes", kind="dataset").files} == {"small/train.parquet"}
