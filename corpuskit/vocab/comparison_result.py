"""The one set of numbers that the table, the JSON and the page show.

None of them computes; what is best of a row, what is doubtful and what to beware of is said here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from corpuskit.vocab.comparison_measures import MEASURES, Measure, format_share
from corpuskit.vocab.lint import Finding

FORMAT_VERSION = 1

LOSS_WARNING = 0.005
"""Share of characters lost or changed from which a warning is printed."""


class Piece(NamedTuple):
    """A part of a sentence as one tokenizer sees it.

    Attributes
    ----------
    text : str
        One token's text, or the characters that several tokens share; "" for a token of nothing.
    ids : list of int
    kind : {"token", "split", "unknown", "changed", "empty", "dropped"}
    """

    text: str
    ids: list[int]
    kind: str


@dataclass(frozen=True)
class Judgement:
    """Everything measured of one tokenizer.

    Attributes
    ----------
    name, path, kind : str
    notes : tuple of str
    values : dict of str to float or None
        By `Measure.key`; None where it was not measured.
    han_lengths : dict of str to float
        Share of the tokens with Han characters by length, as `LENGTH_BINS`.
    findings : tuple of Finding
    sentences : tuple of tuple of Piece
        One for each of `Comparison.sentences`.
    """

    name: str
    path: str
    kind: str
    notes: tuple[str, ...]
    values: dict[str, float | None]
    han_lengths: dict[str, float]
    findings: tuple[Finding, ...]
    sentences: tuple[tuple[Piece, ...], ...]

    @property
    def lost(self) -> float:
        """Share of the characters that are in no known token."""
        return (self.values["unknown_characters"] or 0.0) + (self.values["dropped_characters"] or 0.0)

    def is_doubtful(self, measure: Measure) -> bool:
        """Whether a value is a loss, or looks better than it is because of one."""
        if measure.key in ("unknown_characters", "dropped_characters", "changed_characters"):
            return (self.values[measure.key] or 0.0) >= LOSS_WARNING
        return measure.key in _FLATTERED and self.lost >= LOSS_WARNING


_FLATTERED = (
    "bytes_per_token", "characters_per_token", "simplified_bytes_per_token", "traditional_bytes_per_token",
    "traditional_premium", "fertility", "boundary_precision", "partial_tokens", "split_characters",
)  # fmt: skip
"""Measures that lost text makes better."""


@dataclass(frozen=True)
class Comparison:
    """The result, as all outputs show it.

    Attributes
    ----------
    inputs : tuple of str
    sample : dict of str to int
        What was read and what was chosen of it.
    judgements : tuple of Judgement
        In the order in which the tokenizers were given.
    sentences : tuple of str
    """

    inputs: tuple[str, ...]
    sample: dict[str, int]
    judgements: tuple[Judgement, ...]
    sentences: tuple[str, ...] = field(default=())

    @property
    def measures(self) -> list[Measure]:
        """Those of `MEASURES` that were taken."""
        return [m for m in MEASURES if any(j.values[m.key] is not None for j in self.judgements)]

    @property
    def warnings(self) -> list[str]:
        """What makes a tokenizer's compression look better than it is."""
        found = []
        for judged in self.judgements:
            values = {key: value or 0.0 for key, value in judged.values.items()}
            if judged.lost >= LOSS_WARNING:
                found.append(
                    f"{judged.name} loses {format_share(judged.lost)} of the characters (<unk> or dropped), "
                    f"and its {values['bytes_per_token']:.2f} bytes/token count them as compressed; in known "
                    f"tokens it has {values['known_bytes_per_token']:.2f}"
                )
            if values["changed_characters"] >= LOSS_WARNING:
                found.append(
                    f"{judged.name} changes {format_share(values['changed_characters'])} of the characters "
                    "before encoding (such as ， to ,); they do not come back"
                )
        return found

    def best(self, measure: Measure) -> set[str]:
        """Names of the tokenizers with the best value; none where neither direction is better, or where
        more than half of them have it.

        One that loses text takes no part where more text a token is better.
        """
        if not measure.better or len(self.judgements) < 2:
            return set()
        values = {
            judged.name: value
            for judged in self.judgements
            if (value := judged.values[measure.key]) is not None
            and not (measure.key in _FLATTERED and judged.is_doubtful(measure))
        }
        if len(set(values.values())) < 2:
            return set()
        best = (max if measure.better == "higher" else min)(values.values())
        names = {name for name, value in values.items() if value == best}
        return names if 2 * len(names) <= len(values) else set()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "format": "corpuskit-vocab-comparison",
            "format_version": FORMAT_VERSION,
            "inputs": list(self.inputs),
            "sample": self.sample,
            "warnings": self.warnings,
            "measures": [m._asdict() for m in self.measures],
            "tokenizers": [_as_json(judged) for judged in self.judgements],
            "sentences": list(self.sentences),
        }


def _as_json(judged: Judgement) -> dict[str, Any]:
    stored = asdict(judged)
    stored["sentences"] = [[piece._asdict() for piece in pieces] for pieces in judged.sentences]
    for finding in stored["findings"]:
        finding["count"] = len(finding["ids"])
    return stored
