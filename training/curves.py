"""Draws the curves of training runs: one picture, a panel a file.

python -m training.curves work/mine/alignment.csv work/mine/alignment.held-out.csv --out curves.png
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

BESIDE = ("step", "seconds", "hours", "rate", "task")
"""Columns that are no curves."""


def read_curves(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Name of each curve → its steps and values. Held-out files have a curve for each task and stream."""
    curves: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            for name, value in line.items():
                if name in BESIDE or not value:
                    continue
                steps, values = curves[f"{line['task']} {name}" if "task" in line else name]
                steps.append(int(line["step"]))
                values.append(float(value))
    return dict(curves)


def draw(paths: Sequence[Path], out: Path) -> None:
    """One panel a file, steps to the right, values upwards on a scale of ratios: losses stand beside perplexities."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(paths), figsize=(5 * len(paths), 4), squeeze=False, layout="constrained")
    for path, panel in zip(paths, panels[0], strict=True):
        for name, (steps, values) in read_curves(path).items():
            panel.plot(steps, values, label=name, linewidth=1)
        panel.set(title=path.stem, xlabel="step", yscale="log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="PNG, SVG or PDF")
    options = parser.parse_args()
    draw(options.files, options.out)


if __name__ == "__main__":
    main()
