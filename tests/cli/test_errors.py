"""What the command line prints when something is wrong with the command itself."""

import sys

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


def test_success_exits_with_zero(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
