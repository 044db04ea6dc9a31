"""A stand-in for the Hugging Face hub on 127.0.0.1: what `huggingface_hub` asks of it for looking up and fetching, and its faults."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

LARGE = 5_000  # bytes from which on a file is kept beside git, under its sha256, on another host
SIGNATURE = "signed-by-nobody"


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_folder(folder: Path, files: dict[str, bytes]) -> str:
    """The files in a folder; its path."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


@dataclass
class Repo:
    """A repository: commits of files, and what its branches point to."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    license: str | None = "apache-2.0"
    gated: bool = False
    names: dict[str, str] = field(default_factory=dict)  # what the hub calls a file, where it lies

    def push(self, files: dict[str, bytes], branch: str = "main") -> str:
        commit = hashlib.sha1(repr((sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit


@dataclass
class Fault:
    """What goes wrong with one answer: a status, a cut after so many bytes, a changed byte, or a stop until it is let go."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    flip: bool = False
    hold: int | None = None  # bytes after which it stops
    go: threading.Event = field(default_factory=threading.Event)
    api: bool = False  # of a description, not of a file
    no_range: bool = False
    endless: bool = False  # it says no length, and more and more follows
    content: bytes = b""  # of an answer with a status


class Standin:
    """The server; `asked` is every request as (method, path, headers)."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.faults: deque[Fault] = deque()
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.sent = 0  # bytes of large files
        self.open: list[socket.socket] = []
        self.token: str | None = None  # who has it may read what is gated
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                standin.answer(self)

            def do_POST(self) -> None:
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                standin.answer(self)

            do_HEAD = do_GET

        class Server(ThreadingHTTPServer):
            def process_request(self, request: Any, client_address: Any) -> None:
                standin.open.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *_: Any) -> None:
                """Who asked has gone in the middle of an answer: that is what some tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        for fault in self.faults:
            fault.go.set()
        self.server.shutdown()
        self.server.server_close()
        for one in self.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def repo(self, repo_id: str, files: dict[str, bytes], kind: str = "model", **facts: Any) -> Repo:
        made = Repo(**facts)
        made.push(files)
        self.repos[kind, repo_id] = made
        return made

    def of_files(self) -> list[tuple[str, str, dict[str, str]]]:
        """What was asked for beside descriptions."""
        return [one for one in self.asked if not one[1].startswith("/api/")]

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        self.asked.append((to.command, to.path, {name.lower(): value for name, value in to.headers.items()}))
        path = unquote(urlsplit(to.path).path)
        is_api = path.startswith("/api/")
        fault = next((fault for fault in self.faults if fault.api == is_api and (is_api or path.startswith("/lfs/") or fault.status)), None)
        if fault:
            self.faults.remove(fault)
            if fault.status:
                return self._say(to, fault.status, fault.content, fault.headers)
        if path.startswith("/lfs/"):
            content = next(
                (
                    c
                    for r in self.repos.values()
                    for files in r.commits.values()
                    for c in files.values()
                    if path.endswith(hashlib.sha256(c).hexdigest())
                ),
                b"",
            )
            return self._send(to, content, fault or Fault())
        if is_api:
            return self._describe(to, path)
        return self._resolve(to, path)

    def _find(self, repo_id: str, kind: str, revision: str) -> tuple[Repo | None, str | None]:
        repo = self.repos.get((kind, repo_id))
        if repo is None:
            return None, None
        commit = repo.branches.get(revision, revision)
        return repo, commit if commit in repo.commits else None

    def _missing(self, to: BaseHTTPRequestHandler, repo: Repo | None) -> None:
        if repo is None:  # the hub answers so whoever is not logged in, to hide what is private
            return self._say(to, 401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        return self._say(to, 404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})

    def _describe(self, to: BaseHTTPRequestHandler, path: str) -> None:
        _, _, kinds, rest = path.split("/", 3)
        kind = kinds.removesuffix("s")
        what = next((what for what in ("revision", "tree", "paths-info") if f"/{what}/" in rest), "revision")
        repo_id, _, asked = rest.partition(f"/{what}/")
        revision, _, below = (asked or "main", "", "") if what == "revision" else asked.partition("/")
        repo, commit = self._find(repo_id, kind, revision)
        if repo is None or commit is None:
            return self._missing(to, repo)
        if what != "revision":
            return self._list(to, repo.commits[commit], what, below)
        siblings: list[dict[str, Any]] = []
        for name, content in repo.commits[commit].items():
            one: dict[str, Any] = {"rfilename": repo.names.get(name, name), "size": len(content), "blobId": git_hash(content)}
            if len(content) >= LARGE:
                sha = hashlib.sha256(content).hexdigest()
                one |= {"blobId": git_hash(sha.encode()), "lfs": {"sha256": sha, "size": len(content), "pointerSize": 134}}
            siblings.append(one)
        said = {
            "_id": "0",
            "id": repo_id,
            "sha": commit,
            "gated": "manual" if repo.gated else False,
            "private": False,
            "tags": [f"license:{repo.license}"] if repo.license else [],
            "cardData": {"license": repo.license} if repo.license else {},
            "siblings": siblings,
        }
        return self._say(to, 200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def _list(self, to: BaseHTTPRequestHandler, files: dict[str, bytes], what: str, below: str) -> None:
        """Files below a folder, or those among the paths that are asked for."""
        paths = parse_qs(getattr(to, "body", b"").decode()).get("paths", [])
        kept = {
            name: c for name, c in files.items() if (name in paths if what == "paths-info" else not below or name.startswith(f"{below}/"))
        }
        if below and not kept:
            return self._say(to, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        said = [{"type": "file", "path": name, "oid": git_hash(content), "size": len(content)} for name, content in kept.items()]
        return self._say(to, 200, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def _resolve(self, to: BaseHTTPRequestHandler, path: str) -> None:
        before, _, rest = path.lstrip("/").partition("/resolve/")
        kind = "dataset" if before.startswith("datasets/") else "model"
        revision, _, name = rest.partition("/")
        repo, commit = self._find(before.removeprefix("datasets/"), kind, revision)
        if repo is None or commit is None:
            return self._missing(to, repo)
        if repo.gated and (self.token is None or to.headers.get("Authorization") != f"Bearer {self.token}"):
            return self._say(to, 401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted"})
        content = repo.commits[commit].get(name)
        if content is None:
            return self._say(to, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        if len(content) < LARGE:
            return self._send(to, content, Fault(), {"X-Repo-Commit": commit, "ETag": f'"{git_hash(content)}"'})
        sha = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit, "X-Linked-ETag": f'"{sha}"', "X-Linked-Size": str(len(content))}
        return self._say(to, 302, b"", headers | {"Location": f"http://localhost:{self.port}/lfs/{sha}?X-Signature={SIGNATURE}"})

    def _say(self, to: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        to.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            to.send_header(name, value)
        to.end_headers()
        if to.command != "HEAD":
            to.wfile.write(content)

    def _send(self, to: BaseHTTPRequestHandler, content: bytes, fault: Fault, headers: dict[str, str] | None = None) -> None:
        """A file, from where it is asked for."""
        asked = to.headers.get("Range") if not fault.no_range else None
        start, _, last = asked.removeprefix("bytes=").partition("-") if asked else ("0", "", "")
        start, end = int(start), min(int(last or len(content)) + 1, len(content))
        body = bytearray(content[start:end])
        if fault.flip:
            body[-1] ^= 1
        to.send_response(206 if asked else 200)
        if asked:
            to.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        length = {"Connection": "close"} if fault.endless else {"Content-Length": str(len(body))}
        for name, value in (length | {"Accept-Ranges": "bytes"} | (headers or {})).items():
            to.send_header(name, value)
        to.end_headers()
        if to.command == "HEAD":
            return
        stop = fault.cut if fault.cut is not None else fault.hold if fault.hold is not None else len(body)
        try:
            self.sent += len(body[:stop]) if len(content) >= LARGE else 0  # before who asked can go on
            to.wfile.write(body[:stop])
            to.wfile.flush()
            for _ in range(1_000 if fault.endless else 0):
                self.sent += 100_000
                to.wfile.write(bytes(100_000))
            if fault.hold is not None:
                fault.go.wait(60)
                self.sent += len(body[stop:])
                to.wfile.write(body[stop:])
        except OSError:  # who asked has gone
            to.close_connection = True
        if fault.cut is not None:
            to.close_connection = True


@contextmanager
def pretending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """The stand-in, which `huggingface_hub` takes for the hub, with an empty cache and nobody logged in."""
    server = Standin()
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield server
    finally:
        server.close()


def surroundings(server: Standin, home: Path, **more: str) -> dict[str, str]:
    """What a process needs in its environment to take the stand-in for the hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return kept | {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"} | more
