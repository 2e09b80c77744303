"""What a server answers that is no file: tried again where that may help, then said as it is.

fsspec calls nearly everything that goes wrong "not found", and archives raise whatever their library
does. So the cause below an error decides what the user is told: the server is down, access is
refused, the archive is damaged, or there is really no such file. Nothing that is shown quotes a secret.
"""

from __future__ import annotations

import errno
import ftplib
import re
import time
from collections.abc import Callable
from typing import TypeVar

from corpuskit.errors import CorpuskitError, InputError

ATTEMPTS = 5
FIRST_PAUSE_S = 0.25
"""Pause before the second attempt; doubled before each further one (3.75 s in all)."""

_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError,
              ImportError, ValueError, TypeError, ftplib.error_perm)  # fmt: skip
# Names, because these are of libraries that need not be installed (aiohttp, botocore, requests, paramiko).
_NO_CONNECTION = {"ConnectionRefusedError", "gaierror", "ClientConnectorError", "ConnectionTimeoutError",
                  "EndpointConnectionError", "ConnectTimeoutError", "ConnectTimeout", "NewConnectionError",
                  "NameResolutionError", "NoValidConnectionsError"}  # fmt: skip
_BROKEN = _NO_CONNECTION | {"ConnectionError", "TimeoutError", "ClientConnectionError"}
# pyarrow raises OSError for everything that S3 answers.
_ARROW_STATUS = re.compile(r"AWS Error .*\(HTTP status (\d{3})\)")
_ARROW_REFUSED = re.compile(
    "AWS Error (ACCESS_DENIED|INCOMPLETE_SIGNATURE|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|"
    "INVALID_SIGNATURE|MISSING_AUTHENTICATION_TOKEN|REQUEST_EXPIRED|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT)"
)
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT)

Result = TypeVar("Result")


def redact(url: str) -> str:
    """A URL as it may be shown and stored: without user information and query (signatures, tokens)."""
    return "::".join(_redact_one(part) for part in url.split("::"))


def _redact_one(part: str) -> str:
    scheme, separator, rest = part.partition("://")
    if not separator:
        return part
    if scheme.lower() in ("http", "https"):
        rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def retry(action: Callable[[], Result], url: str) -> Result:
    """The result of `action`, tried again with pauses where a further attempt may help.

    Raises
    ------
    InputError
        For everything that `action` raises in the end and that is no error of corpuskit's own.
    """
    pause = FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except CorpuskitError:
            raise
        except Exception as raised:
            error = cause_of(raised)
            if isinstance(error, FileNotFoundError):
                raise InputError("no such file", where=redact(url), hint="check the address") from error
            status = _status(error)
            refused = isinstance(error, PermissionError) or status in (401, 403)
            if refused or "Unable to locate credentials" in str(error):
                raise InputError(
                    "access is refused",
                    where=redact(url),
                    hint="credentials come from the environment or the configuration of the "
                    "file system's library",
                ) from error
            # What an archive's library raises, save what comes from the server below it.
            is_damaged = "::" in url and not (isinstance(error, OSError) or _names(error) & _BROKEN or status)
            permanent = isinstance(error, _PERMANENT) or (400 <= status < 500 and status not in (408, 429))
            if is_damaged:
                raise InputError(
                    f"the archive cannot be read: {type(error).__name__}{explained(error, url)}",
                    where=redact(url),
                    hint="check that it is whole and of the kind that the URL names, or fetch it again",
                ) from error
            if permanent or attempt == ATTEMPTS:
                tried = "" if permanent else f" ({attempt} attempts)"
                if _is_no_connection(error):
                    raise InputError(
                        f"cannot connect{explained(error, url)}{tried}",
                        where=redact(url),
                        hint="check that the server is up and that the address is right",
                    ) from error
                raise InputError(
                    f"it cannot be read: {type(error).__name__}{explained(error, url)}{tried}",
                    where=redact(url),
                    hint="the same command resumes where it stopped",
                ) from error
        time.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")


def cause_of(error: BaseException) -> BaseException:
    """The error below `error` that tells more: fsspec calls whatever goes wrong "not found"."""
    below: BaseException | None = error
    while below is not None:
        if _is_no_connection(below) or _names(below) & _BROKEN or _status(below) not in (0, 404):
            return below
        below = below.__cause__ or (None if below.__suppress_context__ else below.__context__)
    return error


def _is_no_connection(error: BaseException) -> bool:
    of_arrow = isinstance(error, OSError) and "AWS Error NETWORK_CONNECTION" in str(error)
    return of_arrow or bool(_names(error) & _NO_CONNECTION) or getattr(error, "errno", None) in _UNREACHABLE


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: BaseException) -> int:
    """Of an HTTP answer; 0 where the error is none."""
    status = getattr(error, "status", None)
    if status is None and isinstance(error, OSError):
        if _ARROW_REFUSED.search(str(error)):
            return 403
        if said := _ARROW_STATUS.search(str(error)):
            return int(said[1])
    return status if isinstance(status, int) else 0


def explained(error: BaseException, url: str) -> str:
    """What an error says, unless it quotes a URL with something secret in it."""
    text = str(error).strip()
    secret = redact(url) != url and any(part and part in text for part in re.split("[?&#]", url)[1:])
    return f": {text}" if text and not secret else ""
