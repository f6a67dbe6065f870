"""Times and durations in the forms of the wire. Naive times are UTC, everywhere."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs)")
_MICROSECONDS = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}


def format_duration(value: timedelta) -> str:
    """Writes a duration as the server does.

    Example:
        >>> format_duration(timedelta(hours=3))
        '3h0m0s'
    """
    if value < timedelta(0):
        raise ValueError(f"duration {value} is negative")
    microseconds = value // timedelta(microseconds=1)
    seconds, fraction = divmod(microseconds, 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{seconds}.{fraction:06d}".rstrip("0").rstrip(".") + "s" if fraction else f"{seconds}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def short_duration(value: timedelta) -> str:
    """Writes a duration as names of features have it.

    Example:
        >>> short_duration(timedelta(days=7))
        '7d'
    """
    rest = value // timedelta(microseconds=1)
    text = ""
    for unit, size in _MICROSECONDS.items():
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_duration(text: str) -> timedelta:
    """Reads ``3h``, ``1h30m``, ``90s`` or ``7d``."""
    if text in ("", "0"):
        return timedelta(0)
    if re.fullmatch(r"\d+d", text):
        return timedelta(days=int(text[:-1]))
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"duration {text!r} is not valid; write it like 90s, 3h, 1h30m or 7d")
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def format_time(value: datetime | str) -> str:
    """Writes a time as RFC 3339 in UTC; a naive one is taken as UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if not isinstance(value, datetime):
        raise TypeError(f"a time is a datetime or an ISO 8601 string, not {type(value).__name__}")
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    return value.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: Any) -> datetime | None:
    """Reads the server's RFC 3339, or None if there is no time."""
    if not text:
        return None
    # Python keeps microseconds; the server may write nanoseconds.
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(text)).replace("Z", "+00:00")
    text = re.sub(r"\.(\d{1,5})(?=[+-])", lambda m: "." + m.group(1).ljust(6, "0"), text)
    return datetime.fromisoformat(text)
