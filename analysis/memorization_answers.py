"""What a worker answers of a study of memorization before it is asked for: what it will take."""

from __future__ import annotations

from .lane import Answer, Question, Teller
from .memorization import MemorizationRequest
from .memorization_cost import foresee
from .options import CORES
from .store import Store


class MemorizationAnswers:
    """The cost of training, timed on this machine."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.answers: dict[str, Teller] = {"training-cost": self.cost}

    def cost(self, question: Question, data: bytes) -> Answer:
        """Networks, looks, seconds, bytes, and a sentence. Raises InvalidRequest for what cannot be."""
        request = MemorizationRequest.model_validate_json(question["request"])
        found = foresee(request, self.store.root, processes=CORES)
        return {**found.to_dict(), "sentence": found.sentence}, b""
