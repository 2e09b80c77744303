"""The named configurations of the cleaner.

Every threshold, what it measures and where it comes from is in the table of
``docs/explanation/cleaning-thresholds.md``; the defaults of the steps are those of ``zh-web``.
"""

from __future__ import annotations

from collections.abc import Mapping

from corpuskit.clean.cleaner import Cleaner
from corpuskit.clean.fragments import Markup
from corpuskit.clean.lines import BoilerplateLines
from corpuskit.clean.normalize import Normalize
from corpuskit.clean.pii import Pii
from corpuskit.clean.quality import Quality
from corpuskit.clean.repetition import Repetition
from corpuskit.clean.script import Language, ToSimplified
from corpuskit.clean.spam import Spam

PRESETS: Mapping[str, Cleaner] = {
    "zh-web": Cleaner(
        markup=Markup(),
        normalize=Normalize(),
        language=Language(),
        to_simplified=ToSimplified(),
        boilerplate_lines=BoilerplateLines(),
        spam=Spam(),
        quality=Quality(),
        repetition=Repetition(),
        pii=Pii(),
    ),
    "zh-web-strict": Cleaner(
        markup=Markup(),
        normalize=Normalize(),
        language=Language(),
        to_simplified=ToSimplified(),
        boilerplate_lines=BoilerplateLines(),
        quality=Quality(
            min_characters=200,
            min_han_share=0.5,
            max_digit_share=0.2,
            max_punctuation_share=0.22,
            max_symbol_share=0.08,
            min_stops_per_1000=5.0,
            min_function_share=0.03,
            min_function_characters=6,
            min_terminated_line_share=0.12,
            max_short_line_share=0.5,
            min_mean_line_characters=10.0,
            max_bullet_line_share=0.4,
            max_ellipsis_line_share=0.2,
            max_list_share=0.6,
            max_dated_line_share=0.3,
            min_unique_share=0.12,
            min_entropy=5.5,
        ),
        repetition=Repetition(
            max_duplicate_lines=0.3,
            max_duplicate_line_share=0.2,
            max_top_ngram_shares=(0.16, 0.15, 0.14),
            max_duplicate_ngram_shares=(0.63, 0.58, 0.54, 0.51, 0.48, 0.44),
        ),
        spam=Spam(
            max_spam_terms_per_1000=1.5,
            max_listed_terms_per_1000=2.0,
            max_links_per_1000=5.0,
            max_link_share=0.2,
            max_keyword_share=0.25,
            max_bracket_share=0.03,
            max_stub_line_share=0.15,
            max_notice_share=0.15,
        ),
        pii=Pii(),
    ),
    "zh-books": Cleaner(
        markup=Markup(),
        normalize=Normalize.preset("books"),
        language=Language(),
        quality=Quality(
            min_characters=200,
            max_characters=20_000_000,
            min_stops_per_1000=0.0,
            min_function_share=0.0,
            min_function_characters=0,
            min_terminated_line_share=0.0,
            max_short_line_share=1.0,
            min_mean_line_characters=3.0,
            max_list_share=1.0,
        ),
        repetition=Repetition(max_duplicate_lines=0.5),
        pii=Pii(),
    ),
    "none": Cleaner(),
}
"""The named configurations."""
