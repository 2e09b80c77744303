"""The `corpuskit` command without its imports: a server forks a process that has them already.

Nor does it wait for the disk.

Importing PyTorch and transformers takes longer than most commands on these pages work. `Preloaded` puts a
stand-in for the command into a directory for PATH; it hands its arguments, directory, environment and open
files to the server, passes signals on, and ends as the forked process did. Killing it kills that process.

    python preloaded.py SOCKET    # the server, until its standard input closes
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

_STAND_IN = """#!{python} -SE
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({socket!r})
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: server.send(bytes([number])))
request = [sys.argv[1:], os.getcwd(), dict(os.environ), sorted(os.sched_getaffinity(0))]
socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
status = json.loads(server.recv(100) or "1")
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""
_HEAVY = (
    "numba",
    "pyarrow.parquet",
    "corpuskit.train.loop",
    "corpuskit.generate.sampler",
    "corpuskit.cli.app",
)


class Preloaded:
    """A running server.

    Attributes
    ----------
    path : str
        A directory for PATH that holds the stand-in.
    """

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        address = directory / "server"
        command = directory / "bin" / "corpuskit"
        command.parent.mkdir()
        command.write_text(_STAND_IN.format(python=sys.executable, socket=str(address)), encoding="utf-8")
        command.chmod(0o755)
        self.path = str(command.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(address)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.read(1) != b"+":
            raise RuntimeError("the server of preloaded commands did not start")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def serve(address: str) -> list[str]:
    """Answer requests; returns in each forked process, with its arguments."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    os.write(1, b"+")
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    ready.register(0, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj == 0:
                os._exit(0)
            elif key.fileobj is listener:
                client, _ = listener.accept()
                request, files, _, _ = socket.recv_fds(client, 1 << 20, 3)
                arguments, directory, environment, cores = json.loads(request)
                child = os.fork()
                if child == 0:
                    _become(files, directory, environment, cores)
                    return arguments
                for file in files:
                    os.close(file)
                ended = os.pidfd_open(child)
                ready.register(ended, selectors.EVENT_READ, (child, client))
                ready.register(client, selectors.EVENT_READ, (child, ended))
            elif isinstance(key.fileobj, socket.socket):
                child, ended = key.data
                number = key.fileobj.recv(1)  # a signal to pass on; nothing if the stand-in was killed
                os.kill(child, number[0] if number else signal.SIGKILL)
                if not number:
                    ready.unregister(key.fileobj)
            else:
                child, client = key.data
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                ready.unregister(key.fileobj)
                os.close(key.fileobj)
                if client in ready.get_map():
                    ready.unregister(client)
                    client.send(json.dumps(status).encode())
                client.close()


def _become(files: list[int], directory: str, environment: dict[str, str], cores: list[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, max(files) + 1000)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    os.sched_setaffinity(0, cores)


def run() -> int:
    """The command's exit status; everything it has registered for its end is done."""
    from corpuskit.cli import main

    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    for name in _HEAVY:
        __import__(name)
    os.fsync = lambda descriptor: None
    gc.collect()
    gc.freeze()  # what is shared by all stays shared
    sys.argv = ["corpuskit", *serve(sys.argv[1])]
    os._exit(run())  # taking PyTorch and transformers apart takes a second
