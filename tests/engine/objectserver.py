"""An S3 server on loopback (localbucket's) that can be told to misbehave.

``python objectserver.py DIRECTORY [MILLISECONDS]`` serves the directory's folders as buckets, lets every
request wait so long, prints its address, and misbehaves as the numbers say that it is sent on its standard
input: so many of the next requests are answered with a fault.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import sys
import threading
import time
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

from localbucket import S3Handler

FAULTS = ("500", "503", "slow", "half", "cut")


class ObjectServer:
    """Serves `root`; ``server.faults`` counts, by kind, what was done to requests."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.faults = dict.fromkeys(FAULTS, 0)
        self.requests: dict[str, int] = {}
        self.bytes_sent = self.bytes_received = 0
        self.commits: dict[str, int] = {}
        """How often each ledger entry was written."""
        self.delay_s = (0.0, 0.0)
        """Least and most that every request waits; half of it before, half after what it does."""
        self._waiting: list[str] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"data_root": root.resolve(), "owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def misbehave(self, *kinds: str) -> None:
        """The next requests are answered so, one each: with one of `FAULTS`, or ``403``."""
        with self._lock:
            self._waiting += kinds

    def next_fault(self, method: str) -> str | None:
        with self._lock:
            self.requests[method] = self.requests.get(method, 0) + 1
            if not self._waiting or (self._waiting[0] in ("half", "cut") and method != "GET"):
                return None
            kind = self._waiting.pop(0)
            self.faults[kind] = self.faults.get(kind, 0) + 1
            return kind

    def pause(self) -> None:
        if self.delay_s[1]:
            time.sleep(self._random.uniform(*self.delay_s) / 2)

    def count_bytes(self, sent: int, received: int) -> None:
        with self._lock:
            self.bytes_sent += sent
            self.bytes_received += received

    def count_commit(self, key: str) -> None:
        with self._lock:
            self.commits[key] = self.commits.get(key, 0) + 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(S3Handler):
    owner: ObjectServer

    def log_message(self, format, *args):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _dispatch(self, action):
        self.owner.pause()
        kind = self.owner.next_fault(self.command)
        if kind == "slow":
            time.sleep(1.5)
        if kind in ("403", "500", "503"):
            self._read_all()
            code = b"AccessDenied" if kind == "403" else b"SlowDown"
            self.close_connection = True
            body = b"<Error><Code>" + code + b"</Code></Error>"
            self._send(HTTPStatus(int(kind)), body, {"Content-Type": "application/xml"})
            return
        if kind in ("half", "cut"):
            self.wfile = _HalfFile(self.wfile, kind)
        if self.command == "PUT" and self.path.partition("?")[0].endswith("/"):
            self._read_all()  # the empty objects by which pyarrow marks directories
            self._send(HTTPStatus.OK)
            return
        super()._dispatch(action)
        key = self.path.partition("?")[0]
        if self.command == "PUT" and "/ledger/" in key and re.search(r"/\d{5}\.json$", key):
            self.owner.count_commit(key)
        if kind in ("half", "cut"):
            self.close_connection = True

    def _send_headers(self, *arguments, **options):
        self.owner.pause()
        super()._send_headers(*arguments, **options)

    def _send_file(self, status, file, start, length, headers, include_body):
        if include_body:
            self.owner.count_bytes(length, 0)
        super()._send_file(status, file, start, length, headers, include_body)

    def do_PUT(self):
        length = self.headers.get("x-amz-decoded-content-length") or self.headers.get("Content-Length") or 0
        self.owner.count_bytes(0, int(length))
        super().do_PUT()

    def _read_all(self):
        length = int(self.headers.get("Content-Length") or 0)
        while length > 0:
            length -= len(self.rfile.read(min(length, 1 << 20)) or b"x" * length)


class _HalfFile:
    """Sends the headers and half of the body; or nothing at all."""

    def __init__(self, file, kind: str) -> None:
        self._file = file
        self._left = 0 if kind == "cut" else 400

    def write(self, data):
        part = data[: self._left]
        self._left -= len(part)
        if part:
            self._file.write(part)
        return len(data)

    def flush(self):
        self._file.flush()

    def close(self):
        self._file.close()

    @property
    def closed(self):
        return self._file.closed


def use(server_endpoint: str) -> dict[str, str]:
    """Environment variables for clients of the server."""
    return {
        "AWS_ENDPOINT_URL": server_endpoint,
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret-at-all",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def main() -> None:
    root = Path(sys.argv[1])
    server = ObjectServer(root, seed=int(os.environ.get("SEED", "0")))
    chooser = random.Random(int(os.environ.get("SEED", "0")))
    kinds: list[str] = []
    if len(sys.argv) > 2:
        server.delay_s = (float(sys.argv[2]) / 1000,) * 2
    print(server.endpoint, flush=True)
    for line in sys.stdin:
        while len(kinds) < int(line):
            kinds += chooser.sample(FAULTS, len(FAULTS))  # each of them before any comes again
        server.misbehave(*kinds[: int(line)])
        del kinds[: int(line)]
        print(sum(server.faults.values()), flush=True)


if __name__ == "__main__":
    main()
