"""Word segmentation: exactly jieba's words, for strings and for columns of documents.

`Segmenter` is the class; `corpuskit.segment.jieba` stands in for ``import jieba``.
"""

from corpuskit.segment.dictionary import is_matchable
from corpuskit.segment.segmenter import Segmenter

__all__ = ["Segmenter", "is_matchable"]
