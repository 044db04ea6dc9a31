"""Everything this library raises on purpose, each with one sentence that a person can act on.

NoisescopeError
├── UnknownName         a plug-in, block, model, study or option that does not exist
├── InvalidRequest      a request that cannot be carried out as asked
│   └── Incompatible    parts of it that are each allowed and do not go together
├── InvalidData         images or labels that cannot be used
├── DamagedFile         a unit, weight file, checkpoint or study that is truncated, altered or missing a part
├── StoreUnavailable    the store is read-only, full, or belongs to another version
├── Unreachable         the hub does not answer, or asks to wait for long
└── NotAllowed          the hub gives this only to those who accepted a licence or logged in

The command line ends with exit code 2 on any of them; a page shows its sentence. Anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class NoisescopeError(Exception):
    """Base of every error that is raised on purpose."""


class UnknownName(NoisescopeError):
    """A name that is not among those allowed; the sentence lists them."""

    def __init__(self, kind: str, given: str, allowed: Iterable[str]) -> None:
        super().__init__(
            kind, given, sorted(allowed, key=lambda name: (name.startswith("or "), name))
        )  # what it is made from, so that it survives pickling

    def __str__(self) -> str:
        kind, given, names = self.args
        close = get_close_matches(given, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listed = ", ".join(names) if names else "none are there"
        return f"Unknown {kind} {given!r}; allowed: {listed}.{hint}"


class InvalidRequest(NoisescopeError):
    """A request that cannot be carried out as asked."""


class Incompatible(InvalidRequest):
    """Parts of a request that are each allowed and do not go together: `part` names the one that does not fit, `rule` says why."""

    def __init__(self, sentence: str, part: str, rule: str) -> None:
        super().__init__(sentence, part, rule)
        self.part, self.rule = part, rule

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidData(NoisescopeError):
    """Images or labels that cannot be used."""


class DamagedFile(NoisescopeError):
    """A file that is truncated, altered or missing a part."""


class StoreUnavailable(NoisescopeError):
    """The store cannot be read or written."""


class Unreachable(NoisescopeError):
    """The hub does not answer, or asks to wait for long."""


class NotAllowed(NoisescopeError):
    """The hub gives this only to those who accepted a licence or logged in."""
