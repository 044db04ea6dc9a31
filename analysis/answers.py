"""What a worker answers between two batches: what a request would cost, and one image at every noise level."""

from __future__ import annotations

from functools import lru_cache

from .costs import estimate
from .errors import InvalidRequest
from .lane import Answer, Question
from .planning import Bench
from .specs import SweepRequest
from .store import Store


class Answers:
    """The questions by name; the last few benches stay open, so that a model is loaded once."""

    def __init__(self, store: Store, device: str, processes: int) -> None:
        self.store, self.device, self.processes = store, device, processes
        self._bench = lru_cache(maxsize=2)(self._open)

    def __call__(self, question: Question) -> Answer:
        known = {"cost": self.cost}
        if question.get("ask") not in known:
            raise InvalidRequest(f"ask is {question.get('ask')!r}; allowed: {', '.join(known)}.")
        return known[question["ask"]](question)

    def _open(self, request: str) -> Bench:
        return Bench(SweepRequest.model_validate_json(request), self.store, self.device)

    def cost(self, question: Question) -> Answer:
        """Seconds, memory, disk, and how much is there already."""
        bench = self._bench(question["request"])
        return estimate(bench, self.processes).to_dict(), b""
