"""Which language and script a text is in, from its characters alone.

No model and no download: kana tell Japanese, hangul Korean, characters that only one script uses tell
Simplified from Traditional, the function words that only Cantonese writes tell Cantonese, and letter
trigrams tell English from other languages in Latin letters. That settles the question for Chinese
crawls; telling French from German is not its business. Wu, Hakka and literary Chinese are Chinese here:
in writing they share most of what this could go by.

Every rule is a comparison of counts (`corpuskit.clean.script_evidence`), so a text that says too little
gets the cautious label: ``zh`` rather than a script, ``other`` rather than a language.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from corpuskit.clean.script_evidence import Evidence, EvidenceCounts, count_evidence

LABELS = ("zh-Hans", "zh-Hant", "zh-mixed", "zh", "yue", "ja", "ko", "en", "other")
"""``zh-mixed`` is Chinese with both scripts, ``zh`` Chinese that does not show which, ``yue`` Cantonese
in either script."""

CHINESE = ("zh-Hans", "zh-Hant", "zh-mixed", "zh", "yue")

SCRIPTS = ("", "Hans", "Hant", "mixed")
"""What `scripts` returns indices of."""

LATIN_LETTERS_PER_HAN = 4
"""How many Latin letters weigh as much as one Chinese character. The Universal Declaration of Human
Rights has 2,675 Han in Chinese and 8,675 letters in English, 3.2 to one; rounded up, so that the
product names and units of technical Chinese do not tip the balance."""

MIN_LANGUAGE_SHARE = 0.4
"""Chinese and Japanese have at least this share of the weighted letters: less than half, because a
sentence about software may name more than it says, and English hardly quotes as much Chinese."""

MIN_ENGLISH_SHARE = 0.5

MIN_KANA_SHARE = 0.1
"""Kana among kana and Han from which a text is Japanese: the Universal Declaration has 0.52 in
Japanese, and 999 of 1,000 scraped Chinese news items have less than 0.001."""

MAX_QUOTED_KANA_SHARE = 0.5
MAX_CHINESE_IN_JAPANESE = 0.05
"""Below the first share of kana, a text of whose Han more than the second share is not in use in Japan
is Chinese that quotes Japanese."""

MIN_HANGUL_SHARE = 0.3

MIN_SCRIPT_SHARE = 0.8
"""Share of one script among the script-specific characters from which the text is in that script.
Quotations and names put a few of the other into most long texts."""

MIN_MIXED_CHARACTERS = 2
"""Of each script, from which a text below that share is mixed and not merely undecided."""

MIN_LEANING_CHARACTERS = 2
"""Characters that are rare in the other script (后, 里, 几), from which they decide where no other does."""

MIN_CANTONESE_SHARE = 0.02
"""Cantonese characters among Han. The Universal Declaration has 0.088 in Cantonese; Mandarin under 0.001."""

CANTONESE_PER_MANDARIN = 1
"""Cantonese characters per function word of Mandarin; a text with fewer quotes Cantonese."""

ENGLISH_MARGIN = 16
"""Quarters of a nat by which another language may be likelier than English: e**4, about 55 to 1. Latin
text in Chinese crawls is English far more often than that; from 12 to 16 English sentences of 20
characters lose 0.2 points of error, those of eleven other languages gain 0.1."""

_ZH, _YUE, _JA, _KO, _EN, _OTHER = range(6)


def labels(text: pa.Array) -> pa.Array:
    """The label, out of `LABELS`, of every document.

    Parameters
    ----------
    text : pyarrow.Array
        A string or large_string array without nulls.

    Returns
    -------
    pyarrow.Array
        string, as long as `text`.
    """
    return label_evidence(count_evidence(text))


def script_of(text: str) -> str:
    """The label, out of `LABELS`, of one text."""
    return labels(pa.array([text], pa.large_string()))[0].as_py()


def label_evidence(evidence: EvidenceCounts) -> pa.Array:
    """The label, out of `LABELS`, of every document, from its counts."""
    language, script = languages(evidence), scripts(evidence)
    codes = np.select(
        [language == _ZH, language == _YUE, language == _JA, language == _KO, language == _EN],
        [np.array([3, 0, 1, 2])[script], 4, 5, 6, 7],
        8,
    )
    return pa.array(LABELS, pa.string()).take(pa.array(codes))


def languages(evidence: EvidenceCounts) -> np.ndarray:
    """Code of the language of every document."""
    weighted = _weighted_letters(evidence)
    han, kana, hangul = evidence.han, _kana(evidence), evidence.of(Evidence.HANGUL)
    latin = evidence.of(Evidence.LATIN)
    found = np.full(len(han), _OTHER)
    is_english = (latin > 0) & (evidence.latin.max(axis=1) < ENGLISH_MARGIN)
    found[(latin >= MIN_ENGLISH_SHARE * LATIN_LETTERS_PER_HAN * weighted) & is_english] = _EN
    found[han >= MIN_LANGUAGE_SHARE * weighted] = _ZH
    found[(found == _ZH) & _is_cantonese(evidence)] = _YUE
    found[(han + kana >= MIN_LANGUAGE_SHARE * weighted) & _is_japanese(evidence)] = _JA
    found[(hangul >= MIN_HANGUL_SHARE * weighted) & (hangul > 0)] = _KO
    found[weighted == 0] = _OTHER
    return found


def _is_cantonese(evidence: EvidenceCounts) -> np.ndarray:
    cantonese = evidence.of(Evidence.CANTONESE)
    mandarin = evidence.of(Evidence.MANDARIN, Evidence.MANDARIN_SIMPLIFIED, Evidence.MANDARIN_TRADITIONAL)
    return (
        (cantonese > 0)
        & (cantonese >= MIN_CANTONESE_SHARE * evidence.han)
        & (cantonese >= CANTONESE_PER_MANDARIN * mandarin)
    )


def _is_japanese(evidence: EvidenceCounts) -> np.ndarray:
    """By kana; where there are few or none, by characters that Japan alone uses or alone mixes.

    Postwar Japanese simplified some characters as China did (国, 会) and kept others as they were
    (議, 車); no Chinese script has both, and neither do Japanese texts have what is not in JIS X 0208.
    """
    han, kana = evidence.han, _kana(evidence)
    chinese = evidence.of(
        Evidence.SIMPLIFIED, Evidence.TRADITIONAL, Evidence.MANDARIN_SIMPLIFIED, Evidence.MANDARIN_TRADITIONAL
    )
    quoted = (kana < MAX_QUOTED_KANA_SHARE * (han + kana)) & (chinese > MAX_CHINESE_IN_JAPANESE * han)
    japanese = evidence.of(Evidence.JAPANESE)
    mixed = np.minimum(
        evidence.of(Evidence.SIMPLIFIED_OR_JAPANESE), evidence.of(Evidence.TRADITIONAL_OR_JAPANESE)
    )
    foreign = chinese + evidence.of(Evidence.COMMA, Evidence.CANTONESE)
    by_kanji = (foreign == 0) & (han > 0) & (japanese + mixed > 0)
    return ((kana > 0) & (kana >= MIN_KANA_SHARE * (han + kana)) & ~quoted) | by_kanji


def scripts(evidence: EvidenceCounts) -> np.ndarray:
    """Index into `SCRIPTS` of the script of every document, as far as it is Chinese."""
    simplified, traditional = evidence.simplified, evidence.traditional
    specific = simplified + traditional
    leaning_simplified = evidence.of(Evidence.LEANS_SIMPLIFIED)
    leaning_traditional = evidence.of(Evidence.LEANS_TRADITIONAL)
    leaning = leaning_simplified + leaning_traditional
    share = simplified_share(evidence)
    decided = specific > 0
    leans = ~decided & (leaning >= MIN_LEANING_CHARACTERS)
    found = np.zeros(len(specific), np.int64)
    found[decided & (np.minimum(simplified, traditional) >= MIN_MIXED_CHARACTERS)] = 3
    found[(decided & (share >= MIN_SCRIPT_SHARE)) | (leans & (leaning_traditional == 0))] = 1
    found[(decided & (share <= 1 - MIN_SCRIPT_SHARE)) | (leans & (leaning_simplified == 0))] = 2
    return found


def chinese_share(evidence: EvidenceCounts) -> np.ndarray:
    """Share of Han among letters of all scripts, four Latin letters counting as one."""
    return evidence.han / np.maximum(_weighted_letters(evidence), 1)


def simplified_share(evidence: EvidenceCounts) -> np.ndarray:
    """Share of Simplified-only among script-specific characters; 0.5 where there are none."""
    specific = evidence.simplified + evidence.traditional
    return np.where(specific > 0, evidence.simplified / np.maximum(specific, 1), 0.5)


def cantonese_share(evidence: EvidenceCounts) -> np.ndarray:
    """Share of Cantonese characters among Han."""
    return evidence.of(Evidence.CANTONESE) / np.maximum(evidence.han, 1)


def _kana(evidence: EvidenceCounts) -> np.ndarray:
    """Kana, of which の counts only beside others."""
    kana = evidence.of(Evidence.KANA)
    return np.where(kana > 0, kana + evidence.of(Evidence.POSSESSIVE_KANA), 0)


def _weighted_letters(evidence: EvidenceCounts) -> np.ndarray:
    others = evidence.of(Evidence.LATIN, Evidence.LETTER)
    return evidence.han + _kana(evidence) + evidence.of(Evidence.HANGUL) + others / LATIN_LETTERS_PER_HAN
