"""A data set on the hub, opened through the libraries' real code from a small server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.test_decoded import PIXELS, png, table

ROOT = Path(__file__).parent.parent
COMMIT = hashlib.sha1(b"somebody/pets").hexdigest()


def answer(path: str, files: dict[str, bytes]) -> tuple[int, bytes, dict[str, str]]:
    """What the hub says of one repository, somebody/pets, that has one commit."""
    kind = {"Content-Type": "application/json", "X-Repo-Commit": COMMIT}
    said = [
        {"type": "file", "path": name, "oid": hashlib.sha1(content).hexdigest(), "size": len(content)} for name, content in files.items()
    ]
    if path.startswith("/api/datasets/somebody/pets/tree/"):
        below = path.split("/tree/", 1)[1].partition("/")[2]
        if below and not any(name.startswith(f"{below}/") for name in files):
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        return 200, json.dumps([one for one in said if str(one["path"]).startswith(below)]).encode(), kind
    if path.startswith("/api/datasets/somebody/pets"):
        siblings = [{"rfilename": name} for name in files]
        return 200, json.dumps({"_id": "0", "id": "somebody/pets", "sha": COMMIT, "siblings": siblings, "tags": []}).encode(), kind
    name = path.partition("/resolve/")[2].partition("/")[2]
    if path.startswith("/datasets/somebody/pets/resolve/") and name in files:
        return 200, files[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"'}
    return 404, b"", {"X-Error-Code": "EntryNotFound" if "somebody/pets" in path else "RepoNotFound"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of the server; its data set has two splits, one of them of a name of its own."""
    files = {}
    for name, part in (("train", slice(0, 30)), ("extra", slice(30, 40))):
        labels = ["x", "y"] * (len(PIXELS[part]) // 2)
        files[f"data/{name}.parquet"] = table(
            tmp_path / f"{name}.parquet", [png(image) for image in PIXELS[part]], kind=labels
        ).read_bytes()
    paths = [f"  - {{split: {name}, path: data/{name}.parquet}}\n" for name in ("train", "extra")]
    files["README.md"] = f"---\nconfigs:\n- config_name: default\n  data_files:\n{''.join(paths)}---\n".encode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content, headers = answer(unquote(urlsplit(self.path).path), files)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def opened(home: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"from analysis.datasets import open_dataset; data = open_dataset({name!r}, 8); "
        "print(data.identity, data.name, data.revision, len(data.ids), (data.split == 'test').sum(), *data.label_sets)"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    kept |= {"HF_HOME": str(home / "hf"), "NOISESCOPE_STORE": str(home / "store"), "HF_HUB_DISABLE_XET": "1"} | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=kept, check=False)


@pytest.mark.slow
def test_a_data_set_of_the_hub_is_opened_and_is_there_again_without_a_network(tmp_path: Path, hub: str) -> None:
    name = "somebody/pets?test=extra"
    first = opened(tmp_path, name, HF_ENDPOINT=hub)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split()[1:] == ["somebody/pets", COMMIT, "40", "10", "kind"]
    changed = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "images").iterdir()}
    assert len(changed) == 2
    for environment in ({"HF_ENDPOINT": hub}, {"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        again = opened(tmp_path, name, **environment)
        assert again.stdout == first.stdout, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "images").iterdir()} == changed  # decoded once


def test_one_that_is_not_there_is_one_sentence(tmp_path: Path, hub: str) -> None:
    done = opened(tmp_path, "somebody/else", HF_ENDPOINT=hub)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("analysis.errors.InvalidData: The data set 'somebody/else' cannot be opened (")
