"""The errors that a user can meet: one root, each with its exit code, what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


def known_hint(value: object, known: Iterable[object]) -> str:
    """ "Did you mean adamw? Known: adamw, sgd." for a value that is none of these; what is near comes first."""
    from difflib import get_close_matches

    names = [str(each) for each in known]
    near = get_close_matches(str(value), names, 1, 0.5)
    return (f"Did you mean {near[0]}? " if near else "") + f"Known: {', '.join(names)}."


class InspectError(Exception):
    """Root of every error this library raises on purpose.

    Args:
        message: one line that says what is wrong.
        hint: one line that says what to do about it, or empty.
    """

    exit_code: ClassVar[int] = 4
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(InspectError):
    """The command line, or an argument of the library, is wrong."""

    exit_code = 2
    kind = "usage"


class AccessError(InspectError):
    """Root of: no such repo, revision or file, or no access to it."""

    exit_code = 3
    kind = "no_access"


class RepoNotFound(AccessError):
    """No such repo, or a private one that the token may not see."""

    kind = "repo_not_found"


class RevisionNotFound(AccessError):
    """The repo has no such branch, tag or commit."""

    kind = "revision_not_found"


class FileMissing(AccessError):
    """A file that the user named, on the Hub or on this disk, does not exist."""

    kind = "file_not_found"


class GatedRepo(AccessError):
    """Access to the repo has to be asked for on its page first."""

    kind = "gated_repo"


class UnreadableModel(InspectError):
    """The repo's files are no readable model, or the question cannot be answered from them."""

    exit_code = 4
    kind = "unreadable_model"


class InvalidHeader(UnreadableModel):
    """A safetensors header that the safetensors library would refuse."""

    kind = "invalid_header"


class InvalidConfig(UnreadableModel):
    """A config.json that is no JSON object, or holds values that no model can have."""

    kind = "invalid_config"


class UnsupportedFormat(UnreadableModel):
    """The repo holds weights, but in no format that can be read yet; the message names what it holds."""

    kind = "unsupported_format"


class AmbiguousModel(UnreadableModel):
    """The repo or folder holds several models, quantizations of one say; the message lists them, a line each.

    Attributes:
        choices: of GGUF models what selects each, and its bytes where they are known, the smallest first.
    """

    kind = "ambiguous_model"
    choices: tuple[tuple[str, int | None], ...] = ()


class HubError(InspectError):
    """The Hub or the network failed."""

    exit_code = 5
    kind = "hub_error"


class HubUnreachable(HubError):
    """No connection, a time-out, or offline mode without a copy on this machine."""

    kind = "hub_unreachable"


class RateLimited(HubError):
    """The Hub's limit of requests is used up, for longer than is waited for."""

    kind = "rate_limited"


class OutputFailed(InspectError):
    """The results could not be written, or not any further: a full disk, say. What was written is whole lines."""

    exit_code = 6
    kind = "output_failed"
