"""Which names are models, and Cards that are made when a model is first read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis import cards, catalog, hub
from analysis.backends import describe, open_backend
from analysis.errors import InvalidRequest, StoreUnavailable, UnknownName

from .families import adm_plain, epsilon, folder

pytestmark = pytest.mark.usefixtures("own_store")


def test_a_name_is_a_bundled_model_a_folder_or_a_file(tmp_path: Path) -> None:
    assert catalog.model_folder("digits-ddpm").name == "digits-ddpm"
    place, file = epsilon(tmp_path), adm_plain(tmp_path)
    assert (catalog.model_folder(str(place)), catalog.model_folder(str(file))) == (place, file)


def test_a_folder_with_one_checkpoint_is_that_checkpoint(tmp_path: Path) -> None:
    file = adm_plain(tmp_path)
    assert catalog.model_folder(str(tmp_path)) == file
    (tmp_path / "another.pt").write_bytes(file.read_bytes())
    with pytest.raises(UnknownName):
        catalog.model_folder(str(tmp_path))


@pytest.mark.parametrize("name", ["nothing", "no/where", "a/b@c", "/no/such.pt", "a/b/c"])
def test_what_is_no_model_is_an_unknown_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "folder", lambda repo, revision: None)
    for ask in (catalog.model_folder, catalog.card, describe, open_backend):
        with pytest.raises(UnknownName, match="digits-ddpm"):
            ask(name)


def test_a_name_of_the_hub_is_the_snapshot_that_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, asked = folder(tmp_path / "models--some--model" / "snapshots" / "abc"), []
    monkeypatch.setattr(hub, "folder", lambda repo, revision: (asked.append((repo, revision)), place)[1])
    assert open_backend("some/model").card.repo_id == "some/model"
    assert catalog.model_folder("some/model@abc") == place
    assert set(asked) == {("some/model", None), ("some/model", "abc")}


def test_a_snapshot_that_holds_one_checkpoint_is_that_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models--some--guided" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    file = adm_plain(folder)
    monkeypatch.setattr(hub, "folder", lambda repo, revision: folder)
    assert catalog.model_folder("some/guided") == file
    card = describe("some/guided")
    assert (card.family, card.repo_id, card.revision, card.name) == ("adm", "some/guided", "abc", "adm_plain")


def test_of_several_checkpoints_of_a_repository_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models--some--guided" / "snapshots" / "abc"
    (folder / "more").mkdir(parents=True)
    first = adm_plain(folder)
    second, third = folder / "second.pt", folder / "more" / "third.pt"
    for copy in (second, third):
        copy.write_bytes(first.read_bytes())
    monkeypatch.setattr(hub, "folder", lambda repo, revision: folder if repo == "some/guided" else None)
    assert catalog.model_folder(f"some/guided:{first.name}") == first
    assert catalog.model_folder("some/guided@abc:second.pt") == second
    assert catalog.model_folder("some/guided:more/third.pt") == third
    assert describe("some/guided:second.pt").name == "second"
    with pytest.raises(
        InvalidRequest, match=r"has the files adm_plain\.pt, more/third\.pt, second\.pt; say which, as some/guided:adm_plain\.pt"
    ):
        catalog.model_folder("some/guided")
    with pytest.raises(InvalidRequest, match=r"fourth\.pt was not fetched; .* are here: adm_plain.* --checkpoint fourth\.pt"):
        catalog.model_folder("some/guided:fourth.pt")
    for name in ("some/guided:../x.pt", "some/guided:/etc/x.pt", "some/guided:x.pkl.gz", "no/one:x.pt"):
        with pytest.raises(UnknownName):
            catalog.model_folder(name)


@pytest.mark.parametrize("name", ["edm-cifar10-32x32-cond-vp.pkl", "some/model.pkl"])
def test_a_pickle_is_refused_in_one_sentence_that_says_why(name: str) -> None:
    for ask in (catalog.model_folder, catalog.card, open_backend):
        with pytest.raises(InvalidRequest, match="is a pickle, which runs whatever code it holds"):
            ask(name)


def test_a_card_is_remembered_until_the_files_change(tmp_path: Path) -> None:
    place = epsilon(tmp_path)
    assert cards.remembered(place) is None
    card = describe(str(place))
    assert cards.remembered(place) == card
    config = place / "scheduler_config.json"
    config.write_text(config.read_text().replace('"linear"', '"squaredcos_cap_v2"'))
    assert cards.remembered(place) is None
    assert describe(str(place)).sigmas != card.sigmas


def test_another_versions_or_a_damaged_note_is_made_again(tmp_path: Path) -> None:
    place = epsilon(tmp_path)
    card = describe(str(place))
    (note,) = (tmp_path / "store" / "cards").iterdir()
    for text in ("{", "{}", note.read_text().replace('"resolution"', '"size"')):
        note.write_text(text)
        assert cards.remembered(place) is None
    assert describe(str(place)) == card


def test_the_light_part_makes_a_card_without_loading_torch(tmp_path: Path) -> None:
    place = epsilon(tmp_path)
    code = f"import sys; from analysis import catalog, hub; print(catalog.card({str(place)!r}).identity, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.split() == [describe(str(place)).identity, "False"]


def test_where_the_store_cannot_be_written_a_model_opens_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(cards, "write_json", full)
    place = epsilon(tmp_path)
    assert open_backend(str(place)).card.resolution == 8
    assert cards.remembered(place) is None


def test_why_a_model_is_not_read_is_said_by_the_light_part_too_and_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, count = folder(tmp_path / "latent", in_channels=4, out_channels=4), []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (count.append(1), real(*a, **k))[1])
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"^The network has 4 input"):
            catalog.card(str(place))
    assert len(count) == 1
