"""The Hub's ``config.json`` of a model, asked for with little patience.

An estimate may not hang on a network that swallows packets, so the question has a
deadline. It goes through huggingface_hub, which knows the user's login and mirror
(``HF_TOKEN``, ``HF_ENDPOINT``) and keeps the file in the user's cache.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from flops_magic.errors import InputError

DEADLINE_S = 8.0
# huggingface_hub reads these once, at its import; a notebook may set them later
_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_OUT_OF_REACH = (
    "the Hub could not be reached; check the connection, or set HF_HUB_OFFLINE=1 where "
    "there is none"
)


def fetch_config(
    model_id: str, *, endpoint: str | None = None, deadline_s: float = DEADLINE_S
) -> str:
    """Download the ``config.json`` of a model and return its path.

    Args:
        model_id: Hub id, ``owner/name``.
        endpoint: address of the Hub; that of ``HF_ENDPOINT`` by default.
        deadline_s: seconds until the Hub counts as out of reach.

    Raises:
        InputError: in one line, why there is no file and what to do.
    """
    if any(_is_on(os.environ.get(name, "")) for name in _SWITCHES):
        raise InputError("the Hub was not asked (HF_HUB_OFFLINE is set)")
    try:
        import huggingface_hub
        from huggingface_hub import errors
        from huggingface_hub.utils import get_session  # type: ignore[attr-defined]
    except ImportError as error:
        raise InputError("the Hub was not asked (no huggingface_hub)") from error

    # HTTPError of requests (0.x) or of httpx (1.x, 2.x): the base of the Hub's own
    client_error: Any = errors.HfHubHTTPError.__bases__[0]
    failures: tuple[type[Exception], ...] = (
        *(OSError, ValueError, RuntimeError),
        client_error,
    )

    def download() -> str | None:
        # asked once and without a login, before the download: that repeats a refused
        # connection and a server's error for half a minute, and prints a line each time
        # (huggingface_hub 2.4)
        url = huggingface_hub.hf_hub_url(model_id, "config.json", endpoint=endpoint)
        session = get_session()
        answer = session.head(url, timeout=deadline_s / 2)
        if answer.status_code == 429 or answer.status_code >= 500:
            return None
        path: str = huggingface_hub.hf_hub_download(
            model_id, "config.json", endpoint=endpoint, etag_timeout=deadline_s / 2
        )
        return path

    try:
        path = _within(deadline_s, download, (*failures, errors.EntryNotFoundError))
    except errors.HFValidationError as error:
        raise InputError(
            f"{model_id!r} does not have the form of a Hub id, owner/name"
        ) from error
    except errors.GatedRepoError as error:
        raise InputError(
            f"{model_id!r} is gated on the Hub; accept its terms on its page and log "
            "in with 'hf auth login'"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(_not_shown(model_id)) from error
    except errors.LocalEntryNotFoundError as error:
        # huggingface_hub's wrapper around what kept it from the file
        if _status(error.__cause__) in (401, 403, 404):
            raise InputError(_not_shown(model_id)) from error
        raise InputError(_OUT_OF_REACH) from error
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
        raise InputError(
            f"{model_id!r} has no config.json on the Hub; pass a folder that has one"
        ) from error
    except failures as error:
        if _status(error) in (401, 403, 404):
            raise InputError(_not_shown(model_id)) from error
        raise InputError(_OUT_OF_REACH) from error
    if path is None:
        raise InputError(_OUT_OF_REACH)
    return path


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status that an error carries; None without an answer."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _not_shown(model_id: str) -> str:
    return (
        f"the Hub shows no model {model_id!r}; check the spelling, or log in with "
        "'hf auth login' if it is private"
    )


def _is_on(value: str) -> bool:
    return value.upper() in ("1", "ON", "YES", "TRUE")


def _within(
    deadline_s: float,
    task: Callable[[], str | None],
    failures: tuple[type[Exception], ...],
) -> str | None:
    """Return what a task returns, or None at the deadline; raise its ``failures``.

    huggingface_hub limits each request and repeats some, so the whole of a download has
    no limit. At the deadline its thread is left to end by itself.
    """
    outcome: list[str | None] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            outcome.append(task())
        except failures as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="flops_magic-hub", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if failed:
        raise failed[0]
    return outcome[0] if outcome else None
