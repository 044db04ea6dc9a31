"""A prompt as its words: where each stands among what attention reads, and words that are not in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, cast

from .backends.base import Backend, Told
from .errors import InvalidRequest

if TYPE_CHECKING:
    from .backends._latent import Latent

MOST_OTHERS, LONGEST = 8, 2000
Group = tuple[str, tuple[int, ...]]  # a word and its places


@dataclass(frozen=True)
class Word:
    """A word of a prompt; a second one that is written the same has a number behind it."""

    name: str
    places: tuple[int, ...]  # in what the network was told


@dataclass(frozen=True)
class Other:
    """A word that is not in the prompt, as the prompt's encoder says it."""

    word: Word
    told: Told  # of the prompt with the word behind it, or of the word alone


@dataclass(frozen=True)
class Prompted:
    """A prompt that a model was told."""

    prompt: str
    told: Told
    words: tuple[Word, ...]
    others: tuple[Other, ...]
    said: tuple[str, ...]  # a sentence each: what was cut, what is not there

    @property
    def names(self) -> list[str]:
        """The prompt's words, then the others."""
        return [word.name for word in self.words] + [other.word.name for other in self.others]

    @property
    def special(self) -> tuple[int, ...]:
        """The places where nothing of the prompt stands: marks of its start and end, and what fills it up."""
        return tuple(place for place, token in enumerate(self.told.tokens) if not token)


def hears(model: Backend) -> Latent:
    """The model, if it is told a prompt that its attention reads. Raises InvalidRequest."""
    if model.text is None:
        raise InvalidRequest(
            f"{model.card.name} is told no text; word maps are for models that are: Stable Diffusion 1 to 3.5, SDXL and FLUX, "
            "their turbo and distilled variants among them."
        )
    if not model.card.knows("prompt:"):
        raise InvalidRequest(f"{model.card.name} has no text encoder here, so it cannot be told a prompt; fetch the whole model.")
    return cast("Latent", model)


def prompted(model: Backend, prompt: str, others: Sequence[str] = ()) -> Prompted:
    """A prompt's words and places, and `others`, words or short phrases that are not in it.

    Another word is said by the prompt's own encoder with the word behind the prompt; where there is no room for it, alone, which is
    said. Byte-pair encoders of CLIP read from left to right, so that all that stands before the word is what it was. Where a text is read by
    several encoders, a word has its places in each. Raises InvalidRequest.
    """
    latent = hears(model)
    prompt, others = " ".join(prompt.split()), list(dict.fromkeys(" ".join(one.split()) for one in others if one.strip()))
    if len(others) > MOST_OTHERS or len(prompt) > LONGEST or any(len(one) > LONGEST for one in others):
        raise InvalidRequest(
            f"{len(others)} other words and a prompt of {len(prompt)} letters; allowed: at most {MOST_OTHERS}, and {LONGEST} letters each."
        )
    told = latent.told(f"prompt:{prompt}")
    words = merged(_streams(latent, told))
    if not words and not others:
        raise InvalidRequest("The prompt has no word; write one, or ask for another word.")
    said, found = list(told.said), []
    for other in others:
        one, notes = _other(latent, prompt, told, other)
        found.append(one)
        said += notes
    names = _unique([*(name for name, _ in words), *(f"+ {one.word.name}" for one in found)])
    placed = [Word(name, places) for name, (_, places) in zip(names, words, strict=False)]
    asked = [Other(Word(name, one.word.places), one.told) for name, one in zip(names[len(words) :], found, strict=True)]
    return Prompted(prompt, told, tuple(placed), tuple(asked), tuple(dict.fromkeys(said)))


def _other(model: Latent, prompt: str, told: Told, other: str) -> tuple[Other, list[str]]:
    """A word behind the prompt, or alone, and what is to be said of it."""
    behind = model.told(f"prompt:{prompt} {other}" if prompt else f"prompt:{other}")
    places: list[int] = []
    for before, after in zip(_streams(model, told), _streams(model, behind), strict=True):
        places += [place for _, group in after[len(before) :] for place in group]
    if places:
        new = [sentence for sentence in behind.said if sentence not in told.said]
        return Other(Word(other, tuple(places)), behind), new
    alone = model.told(f"prompt:{other}")
    places = [place for _, group in merged(_streams(model, alone)) for place in group]
    if not places:
        raise InvalidRequest(f"{other!r} is no word that the encoder of {model.card.name} knows; allowed: any with letters.")
    return Other(Word(other, tuple(places)), alone), [f"The prompt leaves no room for “{other}”: it is said alone."]


def _streams(model: Latent, told: Told) -> list[list[Group]]:
    """The words of a text, one list an encoder."""
    from .backends._prompts import words as words_of

    return [
        [(text, tuple(places[place] for place in group)) for text, group in words_of([told.tokens[place] for place in places])]
        for places in model.streams(told)
    ]


def merged(streams: Sequence[Sequence[Group]]) -> list[Group]:
    """Words that several encoders say, in the first's order, each with its places in all; what one alone says stands where it said it.

    Encoders part a text differently: words are the same where they are, without case and punctuation.
    """
    found = list(streams[0])
    for stream in streams[1:]:
        ours, theirs = ([_plain(text) for text, _ in some] for some in (found, stream))
        both: list[Group] = []
        for what, i, j, k, m in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
            if what == "equal":
                both += [(text, (*places, *stream[k + step][1])) for step, (text, places) in enumerate(found[i:j])]
            else:
                both += [*found[i:j], *stream[k:m]]
        found = both
    return found


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum()) or text


def _unique(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
