"""Vocabularies: trained from text, or a byte-level BPE extended without damage.

`train` and `extend` make a `Tokenizer`; `load` reads one (our artifact, or another program's
byte-level BPE); `VocabularyJob` does the same over the documents of a run.
"""

from corpuskit.vocab.artifact import unpack_artifact
from corpuskit.vocab.extension import extend
from corpuskit.vocab.formats import load
from corpuskit.vocab.job import VocabularyJob, VocabularySpec
from corpuskit.vocab.tokenizer import Tokenizer
from corpuskit.vocab.training import train
from corpuskit.vocab.word_list import add_words

__all__ = [
    "Tokenizer",
    "VocabularyJob",
    "VocabularySpec",
    "add_words",
    "extend",
    "load",
    "train",
    "unpack_artifact",
]
