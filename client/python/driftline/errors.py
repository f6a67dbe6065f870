"""What can go wrong, one exception class for each kind of failure.

The server knows twelve kinds; each has its class here, all below
:class:`DriftlineError`. Catch the class you can do something about:

    try:
        store.dataset("late_departure")
    except driftline.NotFoundError as error:
        print(error.hint)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class DriftlineError(Exception):
    """A failure that the server, or the way to it, reports.

    Attributes:
        code: The kind of failure in the words of the wire, such as ``not_found``.
        message: What was wrong with which thing.
        hint: What to do next; empty if nothing better is known than the message.
        ref: The thing that it is about, such as ``view/weather``; may be empty.
    """

    code = "internal"

    def __init__(self, message: str, hint: str = "", ref: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint
        self.ref = ref


class NotFoundError(DriftlineError):
    """The named thing does not exist."""

    code = "not_found"


class AlreadyExistsError(DriftlineError):
    """The named thing exists and may not be made twice."""

    code = "already_exists"


class ConflictError(DriftlineError):
    """Somebody else changed it first, or a key was used again with other content."""

    code = "conflict"


class InvalidError(DriftlineError, ValueError):
    """The request can never succeed as it is."""

    code = "invalid"


class FailedPreconditionError(DriftlineError):
    """The request is fine, the state of the server is not."""

    code = "failed_precondition"


class ExhaustedError(DriftlineError):
    """A budget (memory, rows, queue) is used up: retry later or ask for less."""

    code = "exhausted"


class DeadlineError(DriftlineError, TimeoutError):
    """The time allowed ran out."""

    code = "deadline"


class PermissionDeniedError(DriftlineError):
    """The caller may not do this."""

    code = "permission"


class UnauthenticatedError(DriftlineError):
    """The caller is unknown to the server."""

    code = "unauthenticated"


class DataLossError(DriftlineError):
    """Stored bytes are missing or damaged."""

    code = "data_loss"


class UnavailableError(DriftlineError, ConnectionError):
    """Not now: there is no server, or it is starting or stopping."""

    code = "unavailable"


class InternalError(DriftlineError):
    """A bug of the server."""

    code = "internal"


_CLASSES: dict[str, type[DriftlineError]] = {
    kind.code: kind
    for kind in (
        NotFoundError,
        AlreadyExistsError,
        ConflictError,
        InvalidError,
        FailedPreconditionError,
        ExhaustedError,
        DeadlineError,
        PermissionDeniedError,
        UnauthenticatedError,
        DataLossError,
        UnavailableError,
        InternalError,
    )
}

# "<code>: <message>; <hint>", as the server writes a gRPC status, somewhere inside the
# text that a gRPC client makes of it.
_STATUS = re.compile(rf"\b({'|'.join(_CLASSES)}): (.*)", re.DOTALL)

# The message ends at the first "; " that is not inside quotes: a name may hold one, and
# so may a hint.
_HINT = re.compile(r'((?:"(?:\\.|[^"\\])*"|(?!; ).)*)(?:; (.*))?', re.DOTALL)

# Where the client libraries append what they themselves know of the call.
_APPENDED = re.compile(
    r"\.? (?:Detail: |gRPC client debug context: |Client context: |\[FlightSQL\]|"
    r"\((?:Unknown|Internal|NotFound|Invalid\w*|Unavailable|Already\w*|Aborted|Permission\w*|"
    r"Unauth\w*|Failed\w*|Resource\w*|Deadline\w*|Data\w*); )"
)


def from_json(body: Mapping[str, Any]) -> DriftlineError:
    """Returns the exception for the server's JSON form of an error."""
    kind = _CLASSES.get(str(body.get("code", "")), InternalError)
    return kind(
        str(body.get("message", "the server reported an error without a message")),
        str(body.get("hint", "") or ""),
        str(body.get("ref", "") or ""),
    )


def from_status(text: str) -> DriftlineError | None:
    """Returns the exception for a gRPC status, or None if the server did not write it."""
    match = _STATUS.search(text)
    if match is None:
        return None
    code, rest = match.groups()
    message, hint = _HINT.fullmatch(_APPENDED.split(rest, maxsplit=1)[0].strip()).groups()
    return _CLASSES[code](message, hint or "")
