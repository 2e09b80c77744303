"""Page functions with faults, for the sandbox's tests; importable by its child.

``DIE ONCE`` and the like act on what the page says, as a fault of a parser would. What they make of
a sound page is simple, so that a child starts in a moment.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from pathlib import Path

from corpuskit.ingest.http import BodyError
from corpuskit.ingest.web import PageText


def mended_page_text(request, limits):
    """What `page_text` is once its faults are mended."""
    text = request.body.decode()
    if "EMPTY" in text:
        raise BodyError("ingest/empty", "the page has no text")
    title = re.search("<title>(.*?)</title>", text)
    return PageText(re.sub("<[^>]*>", "", text)[:1000], title and title[1], None, None, "utf-8", None)


def page_text(request, limits):
    body = request.body
    if b"HANG" in body:
        while True:
            pass
    if b"SLEEP" in body:
        time.sleep(600)
    if b"SEGFAULT" in body:
        ctypes.string_at(0)
    if b"KILL" in body:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"EXIT" in body:
        os._exit(3)
    if b"MEMORY" in body:
        bytearray(32 << 30)
    if b"DIE ONCE" in body:
        marker = Path(os.environ["CORPUSKIT_TEST_MARKER"])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return mended_page_text(request, limits)
