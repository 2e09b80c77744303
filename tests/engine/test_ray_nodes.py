"""Ray may not answer a question about its nodes, and the run goes on."""

import threading

import pytest

from corpuskit.engine import ray as engine
from corpuskit.errors import ResourceError

NODES = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 4.0}}]


def test_a_lost_answer_leaves_what_was_known(monkeypatch):
    monkeypatch.setattr(engine, "_ANSWER_S", 0.05)
    monkeypatch.setattr(engine, "_NODES_S", 0.0)
    waits = threading.Event()
    asked = []

    def ask():
        asked.append(1)
        if len(asked) in (1, 3):
            waits.wait(60)
        return NODES

    nodes = engine._Nodes(ask)
    assert nodes.alive() == [{"CPU": 2.0}]  # the second question is answered
    assert nodes.alive() == [{"CPU": 2.0}]
    assert len(asked) == 3
    waits.set()


def test_a_head_that_never_answers_is_an_error(monkeypatch):
    monkeypatch.setattr(engine, "_ANSWER_S", 0.01)
    waits = threading.Event()
    with pytest.raises(ResourceError, match="does not say which nodes"):
        engine._Nodes(lambda: waits.wait(60)).alive()
    waits.set()


def test_nodes_are_not_asked_for_every_task():
    asked = []
    nodes = engine._Nodes(lambda: asked.append(1) or NODES)
    for _ in range(50):
        nodes.alive()
    assert len(asked) == 1
    nodes.forget()
    nodes.alive()
    assert len(asked) == 2
