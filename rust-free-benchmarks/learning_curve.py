"""Draw the loss of training runs, from their metrics.jsonl, as a small SVG.

    .venv/bin/python rust-free-benchmarks/learning_curve.py model -o curve.svg
    .venv/bin/python rust-free-benchmarks/learning_curve.py words=bert tokens=bert-tokens -o curve.svg

A run is a model's directory or its metrics.jsonl, with ``NAME=`` before it where there are several.
The thin line is the training loss, a mean over as many updates as leave `--points` points (150 by
default): a batch's loss jumps, and 2,000 points of it are 60 kB. The dots are the held-out loss where it
was measured.

Colours and text are of middle lightness (contrast 3.7 or more on white and on black) and the ground is
transparent, so that the picture reads on light and on dark pages. The same metrics give the same
bytes: no date, no version, fixed ids, and text that stays text, in the reader's own font.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpuskit.train.metrics import METRICS_NAME, read_metrics

GREY = "#767676"
COLOURS = ("#2b7bba", "#d1660a", "#2e8b57", "#b0508e")


class Curve(NamedTuple):
    """What is drawn of a run; losses are nats per token of the loss.

    Attributes
    ----------
    name : str
    training : list of (float, float)
        Middle of a group of updates, its mean loss weighed by its tokens in the loss.
    held_out : list of (int, float)
    group : int
        Updates of a group.
    """

    name: str
    training: list[tuple[float, float]]
    held_out: list[tuple[int, float]]
    group: int


def curve(name: str, path: Path, points: int = 150) -> Curve:
    """Read a run. ``SystemExit`` says so if it has no metrics."""
    directory = path if path.is_dir() else path.parent
    if not path.is_dir() and path.name != METRICS_NAME:
        raise SystemExit(f"{path}: give a model's directory, or its {METRICS_NAME}")
    steps = list(read_metrics(directory))
    if not steps:
        raise SystemExit(f"{directory}: no {METRICS_NAME}, or nothing in it")
    group = max(1, -(-len(steps) // points))
    training = []
    for begin in range(0, len(steps), group):
        part = steps[begin : begin + group]
        weight = sum(max(1, step.targets) for step in part)
        loss = sum(step.loss * max(1, step.targets) for step in part) / weight
        training.append(((part[0].step + part[-1].step) / 2, loss))
    held_out = [(step.step, step.held_out_loss) for step in steps if step.held_out_loss is not None]
    return Curve(name, training, held_out, group)


def draw(curves: Sequence[Curve], output: Path, title: str = "", top: float | None = None) -> None:
    """Write the picture.

    Parameters
    ----------
    curves : sequence of Curve
    output : Path
        An SVG file.
    title : str
    top : float, optional
        Where the loss axis ends; by default above all points.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    style: dict[str, Any] = {
        "svg.hashsalt": "corpuskit", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
        "text.color": GREY, "axes.labelcolor": GREY, "axes.edgecolor": GREY, "xtick.color": GREY,
        "ytick.color": GREY, "axes.spines.top": False, "axes.spines.right": False,
        "path.simplify": True, "path.simplify_threshold": 0.2,
    }  # fmt: skip
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(7, 3.6))
        figure.subplots_adjust(left=0.09, right=0.98, top=0.9 if title else 0.97, bottom=0.14)
        for number, one in enumerate(curves):
            colour = COLOURS[number % len(COLOURS)]
            name = f"{one.name}: " if one.name else ""
            mean = f", mean of {one.group} updates" if one.group > 1 else ""
            axes.plot(
                *zip(*one.training), color=colour, linewidth=1, alpha=0.75, label=f"{name}training{mean}"
            )
            if one.held_out:
                # A second colour where there is one run, or the dots would hide in their own line.
                dots = COLOURS[1] if len(curves) == 1 else colour
                axes.plot(*zip(*one.held_out), "o-", color=dots, markersize=3.5, linewidth=1.4,
                          label=f"{name}held out")  # fmt: skip
        axes.set_xlabel("updates")
        axes.set_ylabel("loss, nats per token")
        axes.set_xlim(left=0)
        if top is not None:
            axes.set_ylim(top=top)
        axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
        axes.legend(frameon=False)
        if title:
            axes.set_title(title, fontsize=11)
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(
            output, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title}
        )
        pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a model's directory; several as NAME=DIRECTORY"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the SVG")
    parser.add_argument("--title", default="")
    parser.add_argument("--top", type=float, help="where the loss axis ends")
    parser.add_argument("--points", type=int, default=150, help="points of the training line, at most")
    options = parser.parse_args(arguments)
    curves = []
    for run in options.runs:
        name, equals, path = run.partition("=")
        curves.append(
            curve(name, Path(path), options.points) if equals else curve("", Path(run), options.points)
        )
    draw(curves, options.output, options.title, options.top)
    size = options.output.stat().st_size
    print(f"{options.output}: {size:,} bytes, {len(curves)} runs")
    for one in curves:
        first, last = one.training[0][1], one.training[-1][1]
        held = f", held out {one.held_out[0][1]:.3f} -> {one.held_out[-1][1]:.3f}" if one.held_out else ""
        print(f"  {one.name or 'run'}: training {first:.3f} -> {last:.3f}{held}")


if __name__ == "__main__":
    main()
