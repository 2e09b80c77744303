"""Times ours and the peers on the same input, in turn, in one run.

Seconds on a shared machine mean little; the ratio of two programs that ran a moment apart means
much. So contenders are interleaved (A B C, A B C, …), each round gives one ratio, and the table
shows the median of the ratios with their range.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass
class Contender:
    """Something that does the work once.

    Attributes
    ----------
    name : str
        With its version where it is a peer.
    run : callable
        Does the whole work and returns a value for `check`.
    seconds : callable, optional
        For contenders that time themselves (in another process): returns the seconds of one run.
    """

    name: str
    run: Callable[[], Any] | None = None
    seconds: Callable[[], float] | None = None
    timings: list[float] = field(default_factory=list)

    def measure(self) -> Any:
        """One timed run."""
        if self.seconds is not None:
            self.timings.append(self.seconds())
            return None
        if self.run is None:
            raise ValueError(f"{self.name} has nothing to run")
        started = time.perf_counter()
        value = self.run()
        self.timings.append(time.perf_counter() - started)
        return value


def compare(
    title: str,
    contenders: Sequence[Contender],
    amount: float,
    unit: str,
    *,
    rounds: int = 5,
    check: Callable[[str, Any], None] | None = None,
) -> dict:
    """Run all contenders in turn and report throughput and ratios against the first.

    Parameters
    ----------
    title : str
    contenders : sequence of Contender
        Ours first.
    amount, unit : float, str
        How much work one run is, e.g. ``12.5, "Mchar"``.
    rounds : int
        Counted rounds; one more goes before them to warm up caches and compile.
    check : callable, optional
        Called with name and value of each warm-up run; raises if the work was not done.
    """
    for contender in contenders:
        value = contender.measure()
        contender.timings.clear()
        if check is not None and contender.run is not None:
            check(contender.name, value)
    for _ in range(rounds):
        for contender in contenders:
            contender.measure()
    ours = contenders[0]
    rows = []
    for contender in contenders:
        ratios = [theirs / mine for theirs, mine in zip(contender.timings, ours.timings, strict=True)]
        rows.append(
            {
                "name": contender.name,
                "throughput": amount / statistics.median(contender.timings),
                "seconds": contender.timings,
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
            }
        )
    result = {"title": title, "unit": unit, "amount": amount, "machine": machine_line(), "rows": rows}
    _print(result)
    save(result)
    return result


def machine_line() -> str:
    """One line on the machine and the interpreter."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = f"{names[0].split(':', 1)[1].strip()}, {len(names)} threads" if names else model
    return f"{model}, {platform.system()}, Python {platform.python_version()}"


def version(package: str) -> str:
    """``name version`` of an installed package."""
    return f"{package} {metadata.version(package)}"


def own_environment(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of a virtual environment with `requirements`, made on the first call."""
    directory = HERE / ".venvs" / name
    python = directory / "bin" / "python"
    ready = directory / "requirements.txt"
    if not ready.exists() or ready.read_text(encoding="utf-8").splitlines() != list(requirements):
        venv.create(directory, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        ready.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    return python


def peer_in_own_environment(name: str, requirements: Sequence[str], script: Path, *args: str) -> Contender:
    """A contender in a virtual environment of its own, for peers whose pins conflict with ours.

    `script` prints one line when it has loaded its input, then for each line it reads does the
    work once and prints the seconds it took.
    """
    python = own_environment(name, requirements)
    process = subprocess.Popen(
        [str(python), str(script), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError(f"{name}: no pipes")
    process.stdout.readline()
    stdin, stdout = process.stdin, process.stdout

    def seconds() -> float:
        stdin.write("go\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{name} ended early (exit code {process.poll()})")
        return float(line)

    return Contender(name, seconds=seconds)


def _print(result: dict) -> None:
    width = max(len(row["name"]) for row in result["rows"])
    print(f"\n{result['title']}")
    print(f"{result['machine']}; {result['amount']:,.2f} {result['unit']} a run")
    for row in result["rows"]:
        low, high = row["ratio_range"]
        ratio = "" if row is result["rows"][0] else f"ours is {row['ratio']:.1f}x ({low:.1f} to {high:.1f})"
        print(f"  {row['name']:<{width}}  {row['throughput']:>10,.2f} {result['unit']}/s  {ratio}")
    sys.stdout.flush()


def save(result: dict) -> None:
    """Write a result with a ``title`` as JSON to `RESULTS`."""
    RESULTS.mkdir(exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in result["title"].lower()).strip("-")
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
