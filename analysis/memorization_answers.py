"""What a worker answers of a study of memorization before it is asked for: what it will take."""

from __future__ import annotations

from .lane import Answer, Question, Steps, Teller
from .memorization import MemorizationRequest
from .memorization_cost import foreseeing
from .options import CORES
from .steps import relay
from .store import Store


class MemorizationAnswers:
    """The cost of training, timed on this machine."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.answers: dict[str, Teller] = {"training-cost": self.cost}

    def cost(self, question: Question, data: bytes) -> Steps:
        """Networks, looks, seconds, bytes, and a sentence. Raises InvalidRequest for what cannot be."""
        request = MemorizationRequest.model_validate_json(question["request"])
        found = yield from relay(foreseeing(request, self.store.root, processes=CORES), _so_far)
        return {**found.to_dict(), "sentence": found.sentence}, b""


def _so_far(step: tuple[int, int]) -> Answer:
    done, of = step
    return {"done": done, "of": of}, b""
