"""What a network is told of a prompt, by the pipeline's own text encoders, which are loaded when a prompt needs them and let go again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidRequest
from ..hub_choice import ENCODERS
from ._folder import reading, weights

STEM = "model"


class Prompts:
    """The text encoders and tokenizers of a folder of diffusers."""

    @staticmethod
    def there(place: Path) -> bool:
        """Whether the folder has a tokenizer and an encoder of texts."""
        return any((place / name / "config.json").is_file() for name in ENCODERS)

    @staticmethod
    def files(place: Path) -> list[Path]:
        """The encoders' weights."""
        found: list[Path] = []
        for name in ENCODERS:
            if (place / name / "config.json").is_file():
                found += weights(place / name, STEM)[1]
        return found

    @staticmethod
    def parts(place: Path, kinds: Mapping[str, str], optional: Sequence[str] = ()) -> dict[str, Any]:
        """What a pipeline takes: encoders and tokenizers of these classes of transformers, None for optional ones that are not there.

        Raises DamagedFile, and InvalidRequest where another is not there.
        """
        if lacking := [name for name in kinds if name not in optional and not (place / name).is_dir()]:
            raise InvalidRequest(f"{place} has no {', '.join(lacking)}, without which it cannot be told a prompt; fetch the whole model.")
        import transformers  # takes seconds, and most who open a model need no prompt

        transformers.utils.logging.disable_progress_bar()
        found: dict[str, Any] = {}
        with reading(place):
            for name, class_ in kinds.items():
                folder, kind = place / name, getattr(transformers, class_)
                if not folder.is_dir():
                    found[name] = None
                elif name in ENCODERS:
                    variant = weights(folder, STEM)[0]
                    more = {"variant": variant} if variant else {}
                    found[name] = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True, **more).float().eval()
                else:
                    found[name] = kind.from_pretrained(folder, local_files_only=True)
        return found


def prompt_of(condition: str) -> str:
    """The words of a condition; of `null` none."""
    return condition.partition(":")[2] if condition != "null" else ""


def tokens_of(tokenizer: Any, prompt: str, length: int) -> tuple[tuple[str, ...], str | None]:
    """What stands at each of `length` places, and the sentence that says what of the prompt was cut."""
    ids = tokenizer(prompt, truncation=False, verbose=False).input_ids
    kept = ids[: length - 1] + ids[-1:] if len(ids) > length else ids  # the end mark stays
    special = set(tokenizer.all_special_ids)
    names = tuple("" if one in special else tokenizer.convert_ids_to_tokens(one) for one in kept)
    cut = None
    if len(ids) > length:
        lost = tokenizer.decode(ids[length - 1 : -1], skip_special_tokens=True).strip()
        cut = f"The prompt is longer than the {length} tokens that its encoder takes; cut: “{lost}”."
    return names + ("",) * (length - len(names)), cut


def words(tokens: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """The words of a text, in order, and the places of each. Byte-pair tokens end a word with `</w>`; sentence pieces begin one with `▁`."""
    found: list[tuple[str, tuple[int, ...]]] = []
    begins = True
    for place, token in enumerate(tokens):
        text = token.removeprefix("▁").removesuffix("</w>")
        if token and (begins or token.startswith("▁")):
            found.append((text, (place,)))
        elif token:
            found[-1] = (found[-1][0] + text, (*found[-1][1], place))
        begins = not token or token.endswith("</w>")
    return found
