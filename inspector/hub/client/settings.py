"""Where the Hub is and how to ask it: as huggingface_hub reads the environment, unless the caller says otherwise."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from inspector.errors import UsageError


class Settings(NamedTuple):
    """How to reach the Hub.

    Attributes:
        endpoint: the Hub's address, or a mirror's, without a slash at its end.
        token: a token, True (the saved one is required), False (none), None (the saved one if there is one).
        offline: ask nothing over the network.
        timeout: seconds to wait for a server.
        hub_cache: where huggingface_hub keeps downloaded repos.
        cache: where answers are kept between runs.
    """

    endpoint: str
    token: str | bool | None
    offline: bool
    timeout: float
    hub_cache: Path
    cache: Path

    @classmethod
    def of(
        cls,
        *,
        token: str | bool | None = None,
        offline: bool | None = None,
        endpoint: str | None = None,
        timeout: float | None = None,
        cache_dir: Path | None = None,
    ) -> Settings:
        """The settings, what is None taken from huggingface_hub's constants (HF_ENDPOINT, HF_HOME, ...).

        Raises:
            UsageError: a value that cannot be.
        """
        constants = _constants()
        endpoint = (constants.ENDPOINT if endpoint is None else endpoint).rstrip("/")
        _check_endpoint(endpoint)
        timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT if timeout is None else timeout)
        if not (timeout > 0 and math.isfinite(timeout)):
            raise UsageError(f"a time-out of {timeout:g} seconds cannot be", "It is a number of seconds above 0.")
        if isinstance(token, str):
            check_token(token)
        return cls(
            endpoint=endpoint,
            token=token,
            offline=bool(constants.is_offline_mode()) if offline is None else offline,
            timeout=timeout,
            hub_cache=Path(constants.HF_HUB_CACHE),
            cache=Path(constants.HF_ASSETS_CACHE) / "llm-inspect" if cache_dir is None else Path(cache_dir),
        )


def check_token(token: str) -> None:
    """Refuses what cannot stand in a header, without repeating it.

    Raises:
        UsageError: empty, or characters that no token has.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("the token is empty or has characters that no token has", "Tokens look like hf_...")


def _constants() -> Any:
    """huggingface_hub's constants. They read the environment as they are imported, and stumble over a bad number."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice on its own variables is not ours to print
            from huggingface_hub import constants
    except ValueError as error:
        names = [name for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT") if name in os.environ]
        raise UsageError(f"{' or '.join(names) or 'an HF_ variable'} is no whole number ({error})") from None
    return constants


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or not endpoint.isprintable() or " " in endpoint:
        raise UsageError(
            "the Hub's address is no http(s) URL", "Check HF_ENDPOINT; the default is https://huggingface.co"
        )
