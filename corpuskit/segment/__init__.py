"""Word segmentation: exactly jieba's words, a segmenter to train, scores, and new words.

`Segmenter` cuts as jieba does and `corpuskit.segment.jieba` stands in for ``import jieba``;
`PerceptronSegmenter` cuts as a segmented text taught it. Importing the room loads none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Segmenter": "corpuskit.segment.segmenter",
    "is_matchable": "corpuskit.segment.dictionary",
    "PerceptronSegmenter": "corpuskit.segment.perceptron",
    "train_segmenter": "corpuskit.segment.perceptron_training",
    "EpochReport": "corpuskit.segment.perceptron_training",
    "SegmentationScore": "corpuskit.segment.scoring",
    "score_segmentation": "corpuskit.segment.scoring",
    "score_files": "corpuskit.segment.scoring",
    "read_segmented": "corpuskit.segment.scoring",
    "DiscoveryConfig": "corpuskit.segment.discovery",
    "discover_words": "corpuskit.segment.discovery",
    "SegmentOptions": "corpuskit.segment.files",
    "segment_files": "corpuskit.segment.files",
}

__all__ = list(_NAMES)

if TYPE_CHECKING:
    from corpuskit.segment.dictionary import is_matchable as is_matchable
    from corpuskit.segment.discovery import DiscoveryConfig as DiscoveryConfig
    from corpuskit.segment.discovery import discover_words as discover_words
    from corpuskit.segment.files import SegmentOptions as SegmentOptions
    from corpuskit.segment.files import segment_files as segment_files
    from corpuskit.segment.perceptron import PerceptronSegmenter as PerceptronSegmenter
    from corpuskit.segment.perceptron_training import EpochReport as EpochReport
    from corpuskit.segment.perceptron_training import train_segmenter as train_segmenter
    from corpuskit.segment.scoring import SegmentationScore as SegmentationScore
    from corpuskit.segment.scoring import read_segmented as read_segmented
    from corpuskit.segment.scoring import score_files as score_files
    from corpuskit.segment.scoring import score_segmentation as score_segmentation
    from corpuskit.segment.segmenter import Segmenter as Segmenter


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'corpuskit.segment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
