from __future__ import annotations

import multiprocessing
from importlib.metadata import EntryPoint

import pytest

from analysis import registry
from analysis.errors import InvalidRequest, UnknownName


def test_plugins_are_named_by_their_files() -> None:
    assert registry.names("backends") == ["adm", "dit", "flux", "sd3", "stable-diffusion", "unet2d"]
    assert registry.names("datasets") == ["digits", "hub", "shapes", "zip"]
    assert registry.names("heads") == ["attention", "centroid", "cnn", "knn", "logistic", "mlp", "projection", "ridge", "soft-knn", "svm"]
    assert registry.names("encoders") == ["pixels", "transformers"]


def test_an_unknown_name_says_what_is_allowed_and_what_was_meant() -> None:
    with pytest.raises(
        UnknownName,
        match=r"Unknown head 'logistik'; allowed: attention, centroid, cnn, knn, logistic, mlp, projection, ridge, soft-knn, svm\. Did you mean 'logistic'\?",
    ):
        registry.get("heads", "logistik")


def test_an_error_survives_the_way_between_processes() -> None:
    error = UnknownName("head", "x", ["b", "a"])
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.send(error)
    assert str(receiver.recv()) == str(error) == "Unknown head 'x'; allowed: a, b."


def fake(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    entry = EntryPoint(name, "json:loads", "noisescope.heads")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])
    registry._locations.cache_clear()


def test_an_installed_package_adds_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    fake(monkeypatch, "extra")
    assert "extra" in registry.names("heads")
    assert registry.get("heads", "extra") is json.loads
    registry._locations.cache_clear()


def test_two_plugins_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "knn")
    with pytest.raises(InvalidRequest, match="defined by both"):
        registry.names("heads")
    registry._locations.cache_clear()
