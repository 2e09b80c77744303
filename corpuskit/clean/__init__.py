"""From bytes of unknown charset to clean Chinese text, with a reason for every document dropped.

`decode` and `extract` turn a page into text; `Cleaner` normalises and filters batches of documents.
The heavy libraries (numba, OpenCC, ftfy) load when a step first needs them.
"""

from corpuskit.clean.cleaner import PRESETS, Cleaner, Explanation
from corpuskit.clean.decode import Decoded, decode
from corpuskit.clean.extract import Page, PageOverBudget, extract
from corpuskit.clean.normalize import Normalize, normalize_text
from corpuskit.clean.quality import Quality
from corpuskit.clean.repetition import Repetition
from corpuskit.clean.script import Language, ToSimplified, script_of
from corpuskit.clean.spam import Spam

__all__ = [
    "Cleaner",
    "Decoded",
    "Explanation",
    "Language",
    "Normalize",
    "PRESETS",
    "Page",
    "PageOverBudget",
    "Quality",
    "Repetition",
    "Spam",
    "ToSimplified",
    "decode",
    "extract",
    "normalize_text",
    "script_of",
]
