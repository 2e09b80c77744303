"""jieba as the oracle, with its process-wide state reset for each test."""

from __future__ import annotations

import logging

import jieba
import pytest
from jieba import finalseg

from corpuskit.segment import Segmenter

jieba.setLogLevel(logging.ERROR)


@pytest.fixture(scope="session")
def loaded_jieba(tmp_path_factory) -> jieba.Tokenizer:
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    tokenizer.initialize()
    return tokenizer


@pytest.fixture
def oracle(loaded_jieba) -> jieba.Tokenizer:
    """A fresh jieba tokenizer; words deleted elsewhere in the process are forgotten."""
    finalseg.Force_Split_Words.clear()
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ = dict(loaded_jieba.FREQ)
    tokenizer.total = loaded_jieba.total
    tokenizer.initialized = True
    return tokenizer


@pytest.fixture(scope="session")
def shared_segmenter() -> Segmenter:
    """A segmenter that tests must not change."""
    return Segmenter()


@pytest.fixture
def segmenter() -> Segmenter:
    """A segmenter that a test may change."""
    return Segmenter()
