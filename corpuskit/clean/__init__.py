"""From bytes of unknown charset to clean Chinese text, with a reason for every document dropped.

`decode` and `extract` turn a page into text; `Cleaner` normalises and filters batches of documents.
The heavy libraries (numba, OpenCC, ftfy) load when a step first needs them.
"""

from corpuskit.clean.boilerplate import BoilerplateRemover
from corpuskit.clean.classifier import QualityModel, QualityScore
from corpuskit.clean.cleaner import Cleaner, Explanation, RuleVerdict, StepRun
from corpuskit.clean.decode import Decoded, decode
from corpuskit.clean.extract import Page, PageOverBudget, extract
from corpuskit.clean.fragments import Markup
from corpuskit.clean.lines import BoilerplateLines
from corpuskit.clean.normalize import Normalize, normalize_text
from corpuskit.clean.perplexity import Perplexity, PerplexityModel
from corpuskit.clean.pii import Pii, mask_text, mask_texts
from corpuskit.clean.presets import PRESETS
from corpuskit.clean.quality import Quality
from corpuskit.clean.repetition import Repetition
from corpuskit.clean.script import Language, ToSimplified, ToTraditional, script_of
from corpuskit.clean.spam import Spam
from corpuskit.clean.statistics import MeasuredStep, Statistics, measure
from corpuskit.clean.urls import Urls

__all__ = [
    "BoilerplateLines",
    "BoilerplateRemover",
    "Cleaner",
    "Decoded",
    "Explanation",
    "Language",
    "Markup",
    "MeasuredStep",
    "Normalize",
    "PRESETS",
    "Page",
    "PageOverBudget",
    "Perplexity",
    "PerplexityModel",
    "Pii",
    "Quality",
    "QualityModel",
    "QualityScore",
    "Repetition",
    "RuleVerdict",
    "Spam",
    "Statistics",
    "StepRun",
    "ToSimplified",
    "ToTraditional",
    "Urls",
    "decode",
    "extract",
    "mask_text",
    "mask_texts",
    "measure",
    "normalize_text",
    "script_of",
]
