#!/usr/bin/env python3
"""One quantity of several trainings in one plot: curves.py OUT.png KEY NAME=MODEL.h5 [...]

KEY is a name in the history that every checkpoint keeps, such as loss or val_loss. What a greedy
training has of it begins after the epochs that its stages took, which have losses of their own.
"""

import re
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from aetool.storage.checkpoint import read_checkpoint

if len(sys.argv) < 4:
    sys.exit(__doc__)
output, key, *entries = sys.argv[1:]
figure = Figure(figsize=(7, 4.2), layout="constrained")
axes = figure.subplots()
for entry in entries:
    name, _, path = entry.partition("=")
    arrays = read_checkpoint(Path(path), weights=False).arrays
    of_a_stage = re.compile(f"history/{key.replace('loss', r'stage[0-9]+_loss')}")
    before = sum(len(arrays[other]) for other in arrays if of_a_stage.fullmatch(other))
    history = arrays[f"history/{key}"]
    places = range(before + 1, before + len(history) + 1)
    axes.plot(places, history, label=name, marker="o", markersize=3)
axes.set_yscale("log")
axes.yaxis.set_major_formatter(ScalarFormatter())
axes.yaxis.set_minor_formatter(ScalarFormatter())
axes.xaxis.set_major_locator(MaxNLocator(integer=True))
axes.set_xlabel("epoch")
axes.set_ylabel(key.replace("_", " "))
axes.grid(True, which="both", alpha=0.3)
axes.legend()
figure.savefig(output, dpi=150)
