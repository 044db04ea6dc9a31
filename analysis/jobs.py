"""What was asked for and how far it is: one SQLite table in the store, read and written by the app and by the workers.

A job is submitted -> running -> done | failed | cancelled. It belongs to no page and no process: what a worker that died
was at is taken up by the next one, at the first unit that the store lacks.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import ValidationError

from .errors import DamagedFile, InvalidRequest, StoreUnavailable, UnknownName
from .memorization import MemorizationRequest
from .specs import DownloadRequest, SweepRequest

Asked = SweepRequest | DownloadRequest | MemorizationRequest
State = Literal["submitted", "running", "done", "failed", "cancelled"]
ACTIVE = ("submitted", "running")
VERSION = 1
ATTEMPTS = 3  # a worker that dies so often over one job, or before its first, is not started for it again
PAUSE = 15.0  # seconds in which a worker that was started may come to its lock, before another is started
PATIENCE = 5.0  # seconds that one writer waits for another
NETWORK = "network"  # what downloads run on, as sweeps do on a device: its worker has no model
TRAINING = "training"  # the same of networks that are trained for a study: sweeps and questions do not wait for them
ERRANDS = (NETWORK, TRAINING)
TABLES = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, request TEXT NOT NULL, key TEXT NOT NULL, device TEXT NOT NULL,
    state TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '',
    eta REAL, reason TEXT, study TEXT, attempts INTEGER NOT NULL DEFAULT 0,
    submitted REAL NOT NULL, started REAL, finished REAL);
CREATE UNIQUE INDEX one_job_for_one_question ON jobs (key) WHERE state IN ('submitted', 'running');
CREATE TABLE marks (study TEXT PRIMARY KEY, name TEXT, pinned INTEGER NOT NULL DEFAULT 0);
CREATE TABLE starts (device TEXT PRIMARY KEY, at REAL NOT NULL, count INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Job:
    """One row: times are seconds since 1970, `eta` seconds from the last news to the end."""

    id: str
    request: Asked
    device: str
    state: State
    done: int
    total: int
    message: str
    eta: float | None
    reason: str | None
    study: str | None
    attempts: int
    submitted: float
    started: float | None
    finished: float | None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


@dataclass(frozen=True)
class Mark:
    """What a person noted on a study."""

    name: str | None = None
    pinned: bool = False


class Jobs:
    """The job table of a store; a store that does not exist yet is made by the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "jobs.sqlite"

    @contextmanager
    def _open(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection, to write in one transaction. Raises StoreUnavailable or DamagedFile."""
        try:
            if write:
                self.root.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            connection.row_factory = sqlite3.Row
            try:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, VERSION):
                    raise StoreUnavailable(
                        f"{self.path} has version {version}; this Noisescope reads {VERSION}: use the newer one, or set NOISESCOPE_STORE."
                    )
                if version == 0:
                    self._make(connection)
                if write:  # one that reads needs none
                    connection.execute("BEGIN IMMEDIATE")
                yield connection
                if write:
                    connection.execute("COMMIT")
            finally:
                connection.close()  # what was begun and not committed is undone
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"The job table {self.path} cannot be used now ({error}); try again, or look at its folder.") from error
        except sqlite3.DatabaseError as error:
            raise DamagedFile(f"The job table {self.path} is damaged ({error}); move it away: finished studies are not in it.") from error
        except OSError as error:
            raise StoreUnavailable(f"Cannot write {self.root} ({error.strerror}); set NOISESCOPE_STORE to another folder.") from error

    @staticmethod
    def _make(connection: sqlite3.Connection) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:  # another is making it just now; SQLite itself does not wait here
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # another process may have been first
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")

    def _find(self, where: str, *values: Any) -> list[Job]:
        if not self.path.exists():
            return []
        with self._open() as connection:
            rows = connection.execute(f"SELECT * FROM jobs WHERE {where}", values).fetchall()
        return [_job(row) for row in rows]

    def _set(self, where: str, values: tuple[Any, ...], **fields: Any) -> int:
        """Change fields of the rows that fit; returns how many did."""
        change = ", ".join(f"{name} = ?" for name in fields)
        with self._open(write=True) as connection:
            return connection.execute(f"UPDATE jobs SET {change} WHERE {where}", (*fields.values(), *values)).rowcount

    def submit(self, request: Asked, device: str = "cpu") -> Job:
        """The new job, or the one that is already at the same question; an errand is of no device, whichever is given."""
        if not isinstance(request, SweepRequest):
            device = NETWORK if isinstance(request, DownloadRequest) else TRAINING
        key = hashlib.sha256(f"{device}:{request.canonical()}".encode()).hexdigest()[:16]
        with self._open(write=True) as connection:
            row = connection.execute("SELECT * FROM jobs WHERE key = ? AND state IN ('submitted', 'running')", (key,)).fetchone()
            if row is None:
                fields = (uuid4().hex[:12], request.canonical(), key, device, "submitted", time.time())
                connection.execute("INSERT INTO jobs (id, request, key, device, state, submitted) VALUES (?, ?, ?, ?, ?, ?)", fields)
                row = connection.execute("SELECT * FROM jobs WHERE id = ?", fields[:1]).fetchone()
        return _job(row)

    def look(self) -> tuple[list[Job], dict[str, Mark]]:
        """All sweeps, the newest first, and what people noted, by study."""
        if not self.path.exists():
            return [], {}
        with self._open() as connection:
            rows = connection.execute("SELECT * FROM jobs WHERE device NOT IN (?, ?) ORDER BY submitted DESC, id", ERRANDS).fetchall()
            marks = connection.execute("SELECT study, name, pinned FROM marks").fetchall()
        return [_job(row) for row in rows], {row["study"]: Mark(row["name"], bool(row["pinned"])) for row in marks}

    def downloads(self) -> list[Job]:
        """All downloads, the newest first: `done` and `total` are bytes."""
        return self._find("device = ? ORDER BY submitted DESC, id", NETWORK)

    def trainings(self) -> list[Job]:
        """All studies that train networks, the newest first: `done` and `total` are training images met, and looks as so many."""
        return self._find("device = ? ORDER BY submitted DESC, id", TRAINING)

    def list(self) -> list[Job]:
        """All sweeps, the newest first."""
        return self.look()[0]

    def devices(self) -> set[str]:
        """Where there is something to do."""
        return {job.device for job in self._find("state IN ('submitted', 'running')")}

    def get(self, id: str) -> Job:
        """One job. Raises UnknownName."""
        if found := self._find("id = ?", id):
            return found[0]
        raise UnknownName("job", id, [job.id for job in self._find("1")])

    def take(self, device: str) -> Job | None:
        """What a worker of a device does next, now running: first what a worker that died was at, then the oldest.

        Only to be called by the one worker that holds the device's lock.
        """
        while found := self._find("device = ? AND state IN ('submitted', 'running') ORDER BY state, submitted LIMIT 1", device):
            job = found[0]
            if job.attempts >= ATTEMPTS:
                self.fail(
                    job.id, f"The worker ended {job.attempts} times over this, perhaps for want of memory; ask for less and run again."
                )
                continue
            changes = {"state": "running", "attempts": job.attempts + 1, "started": job.started or time.time()}
            if self._set("id = ? AND state IN ('submitted', 'running')", (job.id,), **changes):
                return self.get(job.id)
        return None

    def tell(self, id: str, done: int, total: int, message: str, eta: float | None) -> None:
        """How far a running job is. Where it gets further than any worker before, attempts count anew."""
        with self._open(write=True) as connection:
            connection.execute(
                "UPDATE jobs SET attempts = CASE WHEN ? > done THEN 1 ELSE attempts END, done = MAX(done, ?), total = ?, message = ?, eta = ? "
                "WHERE id = ? AND state = 'running'",
                (done, done, total, message, eta, id),
            )

    def wanted(self, id: str) -> bool:
        """Whether a job is still to be carried out."""
        return bool(self._find("id = ? AND state = 'running'", id))

    def finish(self, id: str, study: str | None, message: str = "") -> None:
        """A running job is done: its study, of which a download has none, has what was kept so far."""
        if self._set("id = ? AND state = 'running'", (id,), state="done", study=study, finished=time.time(), eta=None, message=message):
            shutil.rmtree(self.folder(id), ignore_errors=True)

    def fail(self, id: str, reason: str) -> None:
        """A job cannot be carried out, for a reason that a person can read."""
        self._set("id = ? AND state IN ('submitted', 'running')", (id,), state="failed", reason=reason, finished=time.time(), eta=None)

    def cancel(self, id: str) -> None:
        """A job is not wanted any more; what is stored stays."""
        self._set("id = ? AND state IN ('submitted', 'running')", (id,), state="cancelled", finished=time.time(), eta=None)

    def forget(self, id: str) -> None:
        """Remove a job that is over from the list. Raises InvalidRequest for one that is not."""
        if self.get(id).active:
            raise InvalidRequest(f"Job {id} is at work; cancel it first.")
        with self._open(write=True) as connection:
            connection.execute("DELETE FROM jobs WHERE id = ?", (id,))
        shutil.rmtree(self.folder(id), ignore_errors=True)

    def folder(self, id: str) -> Path:
        """Where what an unfinished job has found is kept."""
        return self.root / "jobs" / id

    def begun(self, device: str) -> None:
        """A worker of a device is at work: starts count anew."""
        with self._open(write=True) as connection:
            connection.execute("DELETE FROM starts WHERE device = ?", (device,))

    def start(self, device: str) -> bool:
        """Whether a worker may be started now; after three that ended before they began, what waits fails instead."""
        with self._open(write=True) as connection:
            row = connection.execute("SELECT at, count FROM starts WHERE device = ?", (device,)).fetchone()
            count = row["count"] if row else 0
            if row and time.time() - row["at"] < PAUSE:
                return False
            connection.execute("REPLACE INTO starts VALUES (?, ?, ?)", (device, time.time(), 0 if count >= ATTEMPTS else count + 1))
        if count < ATTEMPTS:
            return True
        for job in self._find("device = ? AND state IN ('submitted', 'running')", device):
            self.fail(job.id, f"The worker for {device} does not start. {last_words(self.root, device)}")
        return False

    def mark(self, study: str, mark: Mark) -> None:
        """Note a name, or that a study is to stay on top."""
        with self._open(write=True) as connection:
            connection.execute("REPLACE INTO marks VALUES (?, ?, ?)", (study, mark.name or None, mark.pinned))


@lru_cache(maxsize=1000)
def _request(text: str) -> Asked:
    fields = json.loads(text)
    kind: type[Asked] = DownloadRequest if "kind" in fields else MemorizationRequest if "sizes" in fields else SweepRequest
    return kind.model_validate_json(text)


def _job(row: sqlite3.Row) -> Job:
    fields = {name: value for name, value in dict(row).items() if name not in ("request", "key")}
    try:
        return Job(request=_request(row["request"]), **fields)
    except ValidationError as error:
        raise DamagedFile(
            f"Job {row['id']} asks for what this version does not know; use the version that made it, or move jobs.sqlite away."
        ) from error


def place(root: Path, device: str) -> Path:
    """Where a device's worker keeps its lock, log and address, without the ending."""
    return root / "workers" / device.replace(":", "-")


def last_words(root: Path, device: str) -> str:
    """What a worker wrote last, and where."""
    log = place(root, device).with_suffix(".log")
    said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"It said: '{said[-1]}'. More is in {log}." if said else "It said nothing."
