"""The precision and recall of a trained quality score, as a table and as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from corpuskit.errors import MissingExtra
from corpuskit.files import atomic_path

TABLE_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Rows of the table; the picture has all hundred."""

SUSPICIOUS_AUC = 0.99
"""Quality alone is never so clear: people who labelled news of one source agree with a model to an AUC
of 0.9, and the models that told sources apart at 1.0 fell to 0.27–0.83 on sources left out of training."""


def curve_table(report: Mapping[str, Any]) -> str:
    """The held-out numbers of `QualityModel.report` as lines of text.

    ``precision`` is at the held-out mixture of good and raw that the first line states; ``raw kept``
    does not depend on that mixture.
    """
    rows = {round(threshold, 2): row for row, threshold in enumerate(report["thresholds"])}
    lines = [
        f"held out: {report['good']['held_out']:,} good and {report['raw']['held_out']:,} raw documents, "
        f"AUC {report['auc']:.4f}, average precision {report['average_precision']:.4f}",
        "min_score  precision  recall  raw kept",
    ]
    for threshold in TABLE_THRESHOLDS:
        precision, recall, kept = (
            report[name][rows[threshold]] for name in ("precision", "recall", "raw_kept")
        )
        lines.append(f"{threshold:9.2f}  {precision:9.3f}  {recall:6.3f}  {kept:8.3f}")
    if report["auc"] >= SUSPICIOUS_AUC:
        lines.append(
            "good and raw are told apart almost without error: most likely by their sources and topics, "
            "not by quality; compare text of like sources before trusting the score"
        )
    return "\n".join(lines)


def draw_curve(report: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write the curve as one self-contained SVG; the same report gives the same bytes.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra(
            "drawing the curve needs matplotlib", hint='install it with: pip install "corpuskit[quality]"'
        ) from error
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(report["recall"], report["precision"], color="#1f6f8b")
    left.axhline(report["held_out_good_share"], color="#999999", linestyle=":", label="keeping everything")
    for row, threshold in enumerate(report["thresholds"]):
        if round(threshold, 2) in (0.1, 0.5, 0.9):
            point = (report["recall"][row], report["precision"][row])
            left.plot(*point, "o", color="#1f6f8b")
            left.annotate(f"{threshold:.1f}", point, textcoords="offset points", xytext=(-6, -12), ha="right")
    left.set(
        xlabel="recall (good kept)", ylabel="precision (good among kept)", xlim=(0, 1.02), ylim=(0, 1.02)
    )
    left.set_title(f"AUC {report['auc']:.3f}, average precision {report['average_precision']:.3f}")
    left.legend(loc="lower left", frameon=False)
    right.plot(report["thresholds"], report["recall"], color="#1f6f8b", label="good kept")
    right.plot(report["thresholds"], report["raw_kept"], color="#c1440e", label="raw kept")
    right.set(xlabel="min_score", ylabel="share of documents", xlim=(0, 1), ylim=(0, 1.02))
    right.set_title("what each threshold keeps")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    settings: Any = {"svg.hashsalt": "corpuskit", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings), atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
