"""The Hugging Face hub: a model's file in its cache, or downloaded, with the hash that the hub publishes for it.

Its own environment variables hold: ``HF_ENDPOINT`` for a mirror, ``HF_HUB_CACHE`` for another cache folder,
``HF_HUB_OFFLINE=1`` to ask nobody, ``HF_TOKEN``. A download that is cut resumes where it was.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from clip_bench.errors import UnavailableError
from clip_bench.plain import said
from clip_bench.specs import Weights

SAFE = "open_clip_model.safetensors"  # open_clip.constants.HF_SAFE_WEIGHTS_NAME
PICKLED = "open_clip_pytorch_model.bin"  # open_clip.constants.HF_WEIGHTS_NAME
TIMEOUT_S = 5.0  # for the hub's first answer


def files(weights: Weights) -> tuple[str, ...]:
    """The names to look for, best first: like open_clip, the pickled state dict where there is no safetensors file."""
    return (SAFE, PICKLED) if weights.file == SAFE and not weights.sha256 else (weights.file,)


def cached(weights: Weights) -> Path | None:
    """The file in the hub's cache, at the pinned revision or at the one last fetched as newest; asks no network."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for revision in dict.fromkeys((weights.revision, "main")):
        for file in files(weights):
            found = try_to_load_from_cache(weights.repo, file, revision=revision)
            if isinstance(found, str):
                return Path(found)
    return None


def download(weights: Weights) -> tuple[Path, str]:
    """The file, downloaded into the hub's cache, and :func:`published` for it.

    Raises:
        UnavailableError: why not, without saying what to do.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as exc:
        msg = "huggingface-hub is missing: pip install 'clip-bench[suite]'"
        raise UnavailableError(msg) from exc
    endpoint = (os.environ.get("HF_ENDPOINT") or hub.constants.ENDPOINT).rstrip("/")
    if reason := _unreachable(endpoint):
        raise UnavailableError(reason)
    for file in files(weights):
        try:
            url = hub.hf_hub_url(weights.repo, file, revision=weights.revision, endpoint=endpoint)
            found = hub.get_hf_file_metadata(url, timeout=TIMEOUT_S, endpoint=endpoint)
            path = hub.hf_hub_download(
                weights.repo, file, revision=weights.revision, endpoint=endpoint, etag_timeout=TIMEOUT_S
            )
        except LocalEntryNotFoundError as exc:  # what answered is no hub, such as a page to log in
            raise UnavailableError(said(exc.__cause__ or exc)) from exc
        except EntryNotFoundError:
            continue
        except _failures() as exc:
            raise UnavailableError(said(exc)) from exc
        return Path(path), published(found.etag or "")
    msg = f"the hub has no {weights.file} in {weights.repo} at {weights.revision}"
    raise UnavailableError(msg)


def published(tag: str) -> str:
    """The sha256 that *tag* is, if it is one: the hub's entity tag of a large file, which names it in the cache too."""
    return tag if re.fullmatch("[0-9a-f]{64}", tag) else ""


@functools.cache
def _unreachable(endpoint: str) -> str:
    """Why the hub cannot be reached, asked once per process; its own retries would take minutes for each model."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # public, but not in an __all__

    try:
        get_session().head(endpoint, timeout=TIMEOUT_S)
    except _failures() as exc:
        return f"{endpoint} cannot be reached: {said(exc)}"
    return ""


def _failures() -> tuple[type[Exception], ...]:
    """What a request may raise: errors of requests, httpx or httpx2, as the hub's release is built on one of them."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))
