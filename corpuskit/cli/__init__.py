"""The command line: one group per room, no logic.

Errors a user can cause end in three plain lines and exit status 2; a slice that has to wait for
others in the same lines and status 75 (EX_TEMPFAIL of sysexits.h: try again later); an interrupt says
that the same command resumes; anything else is a bug and says where its traceback was put.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from corpuskit.errors import CorpuskitError
from corpuskit.files import disk_full, is_disk_full

USER_ERROR, INTERNAL_ERROR, TRY_LATER, INTERRUPTED = 2, 70, 75, 130


def main() -> None:
    """Entry point of the `corpuskit` command."""
    warnings.showwarning = _print_note
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of few characters shows the others' numbers
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from corpuskit.cli.app import app  # half a second, in which somebody may think better of it

        code = app(standalone_mode=False, prog_name="corpuskit")
        if sys.stdout is not None:  # closed by whoever started the command
            sys.stdout.flush()
        if code == INTERRUPTED:  # typer turns the signal into an exit code
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except CorpuskitError as error:
        from corpuskit.engine import PendingShards

        waits = isinstance(error, PendingShards)
        print_error(error, "waiting" if waits else "error")
        sys.exit(TRY_LATER if waits else USER_ERROR)
    except KeyboardInterrupt:
        print(
            "\ninterrupted; the same command resumes a run, and starts anything else anew",
            file=sys.stderr,
        )
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own errors: unknown options, wrong types
            _print_usage_error(error)
            sys.exit(USER_ERROR)
        if is_disk_full(error):
            print_error(disk_full(getattr(error, "filename", None) or _discard_output()))
            sys.exit(USER_ERROR)
        with tempfile.NamedTemporaryFile(
            "w", prefix="corpuskit-", suffix=".log", delete=False, encoding="utf-8"
        ) as log:
            log.write(traceback.format_exc())
        print(f"internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"  this is a bug in corpuskit; the traceback is in {Path(log.name)}", file=sys.stderr)
        sys.exit(INTERNAL_ERROR)


def _discard_output() -> str:
    """Where a write without a file's name fails. What is still to be written would fail again at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return "standard output"


def _print_usage_error(error: Any) -> None:
    """An error in the command itself; a command without any arguments shows its help."""
    message = error.format_message()
    if message.startswith("Usage:"):
        print(message)
        return
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "corpuskit"
    print_error(
        CorpuskitError(message.rstrip(".").replace("\n", " "), where=command, hint=f"see: {command} --help")
    )


def _print_note(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line for a reader, without the source line that raised it."""
    print(f"note: {message}", file=sys.stderr)


def print_error(error: CorpuskitError, word: str = "error") -> None:
    """The three lines: what was wrong, where, what to do."""
    print(f"{word}: {error.what}", file=sys.stderr)
    if error.where:
        print(f"  where: {error.where}", file=sys.stderr)
    if error.hint:
        print(f"  to do: {error.hint}", file=sys.stderr)
