"""Calls to the hub: patient where it asks to wait or a connection is cut, one sentence where it refuses.

Nothing said here has an address with a signature or a token in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .errors import InvalidRequest, NoisescopeError, NotAllowed, Unreachable

T = TypeVar("T")
Between = Callable[[], None]
TRIES = 5  # that come to nothing, one after another
PAUSE = 1.0  # seconds before the second try; twice as long before each further one
LONGEST = 90.0  # seconds that the hub may ask to wait: for longer, a person is told
NOTICE = 0.1  # seconds between two looks at whether the work is still wanted, while waiting
BUSY = (408, 429, 500, 502, 503, 504)


def quiet() -> None:
    """What the libraries have to say is in the errors; and they would log signed addresses."""
    for name in ("huggingface_hub", "httpx2", "httpcore2", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def hub_name() -> str:
    """The host that is asked."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).hostname or "the hub"


def patiently(
    call: Callable[[], T], what: str, repo_id: str, between: Between | None = None, gained: Callable[[], int] = lambda: 0, cut: bool = True
) -> T:
    """What a call returns, tried again where the hub is busy and, if `cut`, where the connection breaks.

    A try after which `gained()` is larger is not one that came to nothing. Raises InvalidRequest, NotAllowed or Unreachable.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    failed, had = 0, gained()
    while True:
        try:
            return call()
        except (HfHubHTTPError, httpx2.RequestError, OfflineModeIsEnabled, HFValidationError) as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
            if (now := gained()) > had:
                failed, had = 0, now
            failed += 1
            again = status in BUSY or (cut and isinstance(error, httpx2.TransportError))
            asked = _asked_to_wait(error) if status in BUSY else None
            if not again or failed >= TRIES or (asked or 0.0) > LONGEST:
                raise sentence(error, what, repo_id, asked) from error
            _wait(PAUSE * 2 ** (failed - 1) if asked is None else asked, between)


def _wait(seconds: float, between: Between | None) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if between:
            between()
        time.sleep(min(left, NOTICE))


def _asked_to_wait(error: Any) -> float | None:
    """Seconds that the answer asks to wait: `Retry-After`, or the end of the window that is used up."""
    from huggingface_hub.utils import parse_ratelimit_headers

    headers = error.response.headers
    if (given := headers.get("Retry-After", "").strip()).isdecimal():
        return float(given)
    window = parse_ratelimit_headers(headers)
    return float(window.reset_in_seconds) if window and window.remaining == 0 else None


def sentence(error: Exception, what: str, repo_id: str, asked: float | None = None) -> NoisescopeError:
    """What a refusal means and what to do; `what` is what was asked for, such as `the model owner/name`."""
    from huggingface_hub import errors

    hub, begun = hub_name(), what[:1].upper() + what[1:]
    login = "`hf auth login` (or set HF_TOKEN)"
    if isinstance(error, errors.HFValidationError):
        return InvalidRequest(f"{repo_id!r} is no hub id; allowed: owner/name, of letters, digits, '-', '_' and '.'.")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return Unreachable(f"HF_HUB_OFFLINE is set and {what} was not fetched before; unset it, or fetch it where there is a network.")
    if not isinstance(error, errors.HfHubHTTPError):
        return Unreachable(f"{hub} does not answer ({type(error).__name__}), and {what} is not here; look at the network and try again.")
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return NotAllowed(f"{begun} is gated: accept its licence at {hub}/{repo_id}, then {login} on this machine, and try again.")
    if isinstance(error, errors.RevisionNotFoundError):
        return InvalidRequest(f"{hub} does not have {what}; give a branch, a tag or a commit that is there, or leave it out.")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return InvalidRequest(f"{begun} lacks a file that it lists; look at {hub}/{repo_id}.")
    if status == 403:
        return NotAllowed(f"{hub} does not give {what} to this account; look at {hub}/{repo_id}, or {login} as another.")
    if status == 401 and "credentials" in (error.response.headers.get("X-Error-Message") or ""):
        return NotAllowed(f"{hub} does not take this machine's login; {login} anew, or log out.")
    if status in (401, 404):
        return InvalidRequest(f"{hub} does not have {what}; check its name. A private one needs {login}.")
    if status == 429:
        wait = f"{asked:.0f} s" if asked is not None else "a while"
        return Unreachable(f"{hub} has been asked too often and wants {wait} of rest before it gives {what}; try again then.")
    return Unreachable(f"{hub} cannot answer now (status {status}) about {what}; try again later.")
