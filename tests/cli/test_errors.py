"""What the command line prints when something is wrong with the command itself."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpuskit import cli
from corpuskit.cli import app as app_module


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["corpuskit", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


@pytest.mark.parametrize(
    "arguments",
    [
        ("clean", "--bogus"),
        ("clean", "x", "-o", "y", "--workers", "0"),
        ("clean", "x", "-o", "y", "--limit", "many"),
        ("clean",),
        ("nosuch",),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_three_lines(monkeypatch, capsys, arguments):
    assert run(monkeypatch, *arguments) == cli.USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0].strip() for line in lines] == ["error", "where", "to do"]


def test_a_command_without_arguments_shows_its_help(monkeypatch, capsys):
    assert run(monkeypatch) == cli.USER_ERROR
    assert "Usage: corpuskit" in capsys.readouterr().out


def test_an_interrupt_says_that_the_same_command_resumes(monkeypatch, capsys):
    monkeypatch.setattr(app_module, "app", lambda **options: cli.INTERRUPTED)
    assert run(monkeypatch, "clean") == cli.INTERRUPTED
    assert "the same command resumes" in capsys.readouterr().err


def test_an_interrupt_while_the_commands_load_is_one_too(monkeypatch, capsys):
    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "corpuskit.cli.app", Interrupted())
    assert run(monkeypatch, "clean") == cli.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_success_exits_with_zero(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_bug(monkeypatch, capsys, number):
    def fails(**options):
        raise OSError(number, os.strerror(number), "there/file")

    monkeypatch.setattr(app_module, "app", fails)
    assert run(monkeypatch, "clean") == cli.USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: no space left")
    assert lines[1].split() == ["where:", "there/file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_output_that_cannot_be_written_is_an_error_also_when_the_command_ends(argument):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "corpuskit.cli", argument], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == cli.USER_ERROR
    lines = ended.stderr.splitlines()
    assert [line.partition(":")[0].strip() for line in lines] == ["error", "where", "to do"]
    assert "standard output" in lines[1]


def test_characters_that_the_output_has_not_are_written_as_numbers():
    code = "import corpuskit.cli.app as module; module.app = lambda **options: print('好😀')"
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}; from corpuskit.cli import main; main()"],
        env={**os.environ, "PYTHONIOENCODING": "gbk"}, capture_output=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.decode("gbk").strip() == "好\\U0001f600"
