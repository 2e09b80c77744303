"""`make bench`: every benchmark, one after the other, or those named on the command line."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = sorted(path.stem for path in HERE.glob("bench_*.py"))


def main() -> int:
    """Run the named benchmarks (all without a name)."""
    wanted = sys.argv[1:] or BENCHMARKS
    unknown = [name for name in wanted if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in wanted:
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
    print(f"\nJSON: {HERE / 'results'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
