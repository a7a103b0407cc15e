#!/usr/bin/env python3
"""One quantity of several trainings in one plot: curves.py OUT.png KEY NAME=MODEL.h5 [...]

KEY is a name in the history that every checkpoint keeps, such as loss or val_loss; several files of
one NAME, as of the same stages of a greedy training, may follow each other.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from aetool.storage.checkpoint import read_checkpoint

if len(sys.argv) < 4:
    sys.exit(__doc__)
output, key, *entries = sys.argv[1:]
figure = Figure(figsize=(7, 4.2), layout="constrained")
axes = figure.subplots()
for entry in entries:
    name, _, path = entry.partition("=")
    history = read_checkpoint(Path(path), weights=False).arrays[f"history/{key}"]
    axes.plot(range(1, len(history) + 1), history, label=name, marker="o", markersize=3)
axes.set_yscale("log")
axes.set_xlabel("epoch")
axes.set_ylabel(key.replace("_", " "))
axes.grid(True, which="both", alpha=0.3)
axes.legend()
figure.savefig(output, dpi=150)
