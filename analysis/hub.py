"""Models and data sets of the Hugging Face hub: looked up, fetched, and found again without a network.

A login is taken from where `hf auth login` or HF_TOKEN leaves it and goes to the hub alone: it is in no message, log or file of
ours. Nothing of a repository is executed or unpickled. Revisions are resolved to commits, which are stored.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from .errors import InvalidData, InvalidRequest, NotAllowed, Unreachable
from .hub_calls import Between, hub_name, patiently, quiet
from .hub_choice import check_class, choose, config_of, needs_code, of_config
from .hub_fetch import content_of, fetch
from .hub_records import CONVERTED, ID, MAIN, HubFile, Kind, Record, cache, day, fetched, find, folder, in_units, is_there, named, repo_type

__all__ = ["HubFile", "Kind", "Record", "cache", "day", "fetch", "fetched", "find", "folder", "in_units", "look_up"]
ANSWER = 15.0  # seconds that the hub has for its answer
SMALL = 1_000_000  # bytes of a file that is looked into
COMMIT = re.compile("[0-9a-f]{40}")


def look_up(
    repo_id: str,
    revision: str | None = None,
    kind: Kind = "model",
    checkpoint: str | None = None,
    between: Between | None = None,
    config: str | None = None,
) -> Record:
    """What a repository offers at a revision (a branch, a tag or a commit), without downloading any of it but what says which network it is.

    Of a data set that only code could read, it is the hub's own conversion to Parquet, where there is one, and says so.
    `checkpoint` names one file that is wanted for weights, a `.pt` or a `diffusion_pytorch_model*.safetensors`; `config` is the
    one configuration of a data set that is wanted; `between` is called while it waits, and may raise to stop. Where the hub does not answer, it is what was fetched before, and says so. Raises InvalidRequest, NotAllowed, or Unreachable where nothing was fetched either.
    """
    quiet()
    asked = revision or MAIN
    try:
        found = patiently(lambda: _ask(repo_id, revision, kind), named(repo_id, kind, revision), repo_id, between, cut=False)
        read, converted = found, False
        if kind == "dataset" and asked == MAIN and needs_code([file.rfilename for file in found.siblings or ()], repo_id):
            with suppress(InvalidRequest):  # not every data set is converted
                read = patiently(lambda: _ask(repo_id, CONVERTED, kind), named(repo_id, kind, CONVERTED), repo_id, between, cut=False)
                converted = True
        listed = _files(read, repo_id)
        if kind == "model" and not checkpoint:
            _check_class(listed, repo_id, read.sha, between)
        if kind == "dataset" and config:
            listed = of_config(listed, config, _described(listed, repo_id, read.sha, between), repo_id)
        files = choose(listed, kind, checkpoint, repo_id)
    except Unreachable:
        before = find(repo_id, asked, kind)
        if before is None or (checkpoint and checkpoint not in {file.name for file in before.files}):
            raise
        return before.model_copy(update={"offline": True})
    try:
        record = Record(
            repo_id=repo_id,
            kind=kind,
            revision=asked,
            commit=read.sha,
            license=_license(found),
            gated=bool(found.gated),
            files=files,
            converted=converted,
        )
    except ValidationError as error:
        raise _strange(repo_id, error) from error
    before = find(repo_id, asked, kind)
    here = tuple(file.model_copy(update={"there": is_there(record, file)}) for file in record.files)
    moved = before.commit if before and before.commit != record.commit and not COMMIT.match(asked) else None
    return record.model_copy(update={"files": here, "before": moved})


def _files(found: Any, repo_id: str) -> list[HubFile]:
    """What the hub lists. Raises InvalidData."""
    try:
        return [
            HubFile(name=file.rfilename, size=file.size, blob=file.blob_id, sha256=file.lfs.sha256 if file.lfs else None)
            for file in found.siblings or ()
        ]
    except ValidationError as error:
        raise _strange(repo_id, error) from error


def _check_class(files: list[HubFile], repo_id: str, commit: str, between: Between | None) -> None:
    """Before anything large is downloaded. Raises InvalidRequest for a network that no family reads."""
    index = next((file for file in files if file.name == "model_index.json"), None)
    for file in dict.fromkeys(found for found in (config_of(files), index) if found is not None and found.size <= SMALL):
        with suppress(NotAllowed):  # who may not read it yet is told with the download
            check_class(content_of(repo_id, "model", commit, file, between), repo_id, file is index)


def _described(files: list[HubFile], repo_id: str, commit: str, between: Between | None) -> Any:
    """The configurations in the header of a data set's README; None where there are none, or none that can be read yet."""
    file = next((file for file in files if file.name == "README.md" and file.size <= SMALL), None)
    if file is None:
        return None
    from huggingface_hub import DatasetCard

    try:
        text = content_of(repo_id, "dataset", commit, file, between).decode(errors="replace")
    except NotAllowed:  # who may not read it yet is told with the download
        return None
    try:
        return DatasetCard(text, ignore_metadata_errors=True).data.to_dict().get("configs")
    except Exception:  # of YAML and of the library: then folders tell
        return None


def _strange(repo_id: str, error: ValidationError) -> InvalidData:
    return InvalidData(f"{hub_name()} describes {repo_id} in a way that is not understood ({error.errors()[0]['msg']}).")


def _ask(repo_id: str, revision: str | None, kind: Kind) -> Any:
    """The hub's own description, with the sizes and hashes of its files."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not ID.fullmatch(repo_id):
        raise HFValidationError
    try:
        return HfApi().repo_info(repo_id, revision=revision, repo_type=repo_type(kind), files_metadata=True, timeout=ANSWER)
    except (HfHubHTTPError, HFValidationError):
        raise
    except (ValueError, KeyError, TypeError) as error:  # no description at all
        raise Unreachable(
            f"What answers for {hub_name()} is no hub, perhaps a network's login page, and {named(repo_id, kind, revision)} is not here."
        ) from error


def _license(found: Any) -> str | None:
    """Of the model card, else of the repository's tags."""
    card = getattr(found, "card_data", None)
    given = card.get("license") if card is not None else None
    if given is None:
        given = next((tag.partition(":")[2] for tag in found.tags or () if tag.startswith("license:")), None)
    every = given if isinstance(given, list) else [] if given is None else [given]
    return ", ".join(str(one) for one in every) or None
