"""The worker's second lane: short questions about one image or one request, answered between two batches.

They travel over a socket of this machine that only those who can read the store's address file may use, and leave
nothing behind. Question and answer are JSON and any number of bytes each, such as an image.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread, local
from typing import Any

from .errors import InvalidRequest, NoisescopeError, StoreUnavailable
from .jobs import place
from .store import writing
from .workers import facts, start_worker

Question = Mapping[str, Any]
Answer = tuple[Mapping[str, Any], bytes]
Steps = Generator[Answer, None, Answer]  # an answer that takes long: what there is so far, {done, of, …}, then the whole
Handler = Callable[[Question, bytes], Answer]
Teller = Callable[[Question, bytes], Answer | Steps]
START = 120.0  # seconds that a worker may need until it listens
_open = local()  # each thread that asks keeps its own connection


@dataclass
class _Asked:
    question: Question
    data: bytes
    answer: Answer = ({}, b"")
    ready: Event = field(default_factory=Event)


class Lane:
    """The worker's end: questions come in by threads and are answered by whoever calls `serve`, the thread that has the model."""

    def __init__(self, root: Path, device: str) -> None:
        self._key, self._closed = secrets.token_bytes(32), False
        self._listener = Listener(("127.0.0.1", 0))
        self._asked: Queue[_Asked] = Queue()
        self._path = place(root, device).with_suffix(".json")
        with writing(self._path) as temporary:
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))  # only its owner may read the key
            temporary.write_text(json.dumps({"port": self._listener.address[1], "key": self._key.hex(), "pid": os.getpid()}))
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._path.unlink(missing_ok=True)
        self._listener.close()

    def serve(self, handle: Handler, wait: float = 0.0) -> int:
        """Answer what has been asked until now; waits up to `wait` seconds for a first question. Returns how many there were."""
        count = known = 0
        with suppress(Empty):
            while not count or count < known:  # what comes in meanwhile waits for the next call: who asks on and on holds nobody up
                asked = self._asked.get(timeout=wait) if wait and not count else self._asked.get_nowait()
                known = known if count else 1 + self._asked.qsize()
                try:
                    asked.answer = handle(asked.question, asked.data)
                except NoisescopeError as error:
                    asked.answer = ({"error": str(error)}, b"")
                except Exception as error:  # a bug in one answer must not end the worker: it is said where it was asked
                    asked.answer = ({"mistake": f"{type(error).__name__}: {error}. This is a mistake in Noisescope."}, b"")
                finally:
                    asked.ready.set()
                count += 1
        return count

    def _accept(self) -> None:
        while not self._closed:
            with suppress(OSError):  # one who hung up; or closed
                connection = self._listener.accept()
                Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: Connection) -> None:
        with suppress(AuthenticationError, EOFError, OSError, ValueError), connection:
            _at_once(connection)
            deliver_challenge(connection, self._key)  # here, not while accepting: who never answers keeps nobody else waiting
            answer_challenge(connection, self._key)
            while True:
                asked = _Asked(json.loads(connection.recv_bytes()), connection.recv_bytes())
                self._asked.put(asked)
                asked.ready.wait()
                said, data = asked.answer
                connection.send_bytes(json.dumps(said).encode())
                connection.send_bytes(data)


def _at_once(connection: Connection) -> None:
    """What is written goes out: else a second small message waits some 40 ms for word of the first."""
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def ask(root: Path, device: str, question: Question, patience: float = START, data: bytes = b"") -> Answer:
    """A worker's answer, starting the worker if none runs; blocks, so a page asks in a thread.

    Raises InvalidRequest with what is wrong with the question, NoisescopeError where the worker failed, StoreUnavailable where
    it does not answer.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if address := facts(root, device):
            with suppress(OSError, EOFError, AuthenticationError):  # it is just starting or ending: ask again
                return _ask(address, question, data, deadline - time.monotonic())
        start_worker(root, device)
        time.sleep(0.1)
    raise StoreUnavailable(f"The worker for {device} does not answer; its log is {place(root, device).with_suffix('.log')}.")


def _ask(address: Mapping[str, Any], question: Question, data: bytes, patience: float) -> Answer:
    """One question over this thread's connection to an address, which stays open for the next."""
    deadline = time.monotonic() + patience
    try:
        connection = _connection(address, deadline)
        connection.send_bytes(json.dumps(question).encode())
        connection.send_bytes(data)
        _await_word(connection, deadline)
        said, back = json.loads(connection.recv_bytes()), connection.recv_bytes()
    except BaseException:  # what was under way on it is lost
        if known := vars(_open).pop("known", None):
            known[1].close()
        raise
    if "error" in said:
        raise InvalidRequest(said["error"])
    if "mistake" in said:
        raise NoisescopeError(said["mistake"])
    return said, back


def _connection(address: Mapping[str, Any], deadline: float) -> Connection:
    there: tuple[Mapping[str, Any], Connection] | None = vars(_open).get("known")
    if there and there[0] == address and not there[1].closed:
        return there[1]
    if there:
        there[1].close()
    connection, key = Client(("127.0.0.1", address["port"])), bytes.fromhex(address["key"])
    _open.known = (address, connection)
    _at_once(connection)
    _await_word(connection, deadline)
    answer_challenge(connection, key)
    deliver_challenge(connection, key)
    return connection


def _await_word(connection: Connection, deadline: float) -> None:
    if not connection.poll(max(0.0, deadline - time.monotonic())):
        raise EOFError
