#!/usr/bin/env python3
"""PSNR against colourfulness, for every saturation: tradeoff.py OUT.png PHOTOS NAME=MODEL.h5 [...]

A point of a curve is a factor on the colours; the ring is the factor 1, what the model gives by
itself. Prints how many dB above leaving the pictures grey each model is at equal colourfulness.
"""

import sys
from pathlib import Path

import numpy as np
from colours import Colorizer, photographs
from matplotlib.figure import Figure

from aetool.images.chroma import colorfulness, grey_of, join
from aetool.images.quality import psnr

FACTORS = (0.3, 0.55, 0.75, 1, 1.2, 1.45, 1.8, 2.3, 3, 4)
SHARES = (0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9)


def mean_psnr(results, pictures):
    return np.mean([psnr(*pair) for pair in zip(results, pictures, strict=True)])


def curve(pictures, chroma):
    """(shares of the true colourfulness, dB above grey), from grey through FACTORS on."""
    greys = [grey_of(pixels) for pixels in pictures]
    truth = np.mean([colorfulness(pixels) for pixels in pictures])
    grey = mean_psnr([np.repeat(g[..., None], 3, axis=-1) for g in greys], pictures)
    points = [(0.0, 0.0)]
    for factor in FACTORS:
        results = [join(g, c, factor) for g, c in zip(greys, chroma, strict=True)]
        share = np.mean([colorfulness(pixels) for pixels in results]) / truth
        points.append((share, mean_psnr(results, pictures) - grey))
    return np.array(points).T


def main(output, source, entries):
    pictures = photographs(source)
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    print("| dB above grey at a share of the true colourfulness |",
          " | ".join(f"{share:.0%}" for share in SHARES), "| by itself |")  # fmt: skip
    print("|---" * (len(SHARES) + 2) + "|")
    for entry in entries:
        name, _, path = entry.partition("=")
        shares, gains = curve(pictures, Colorizer(Path(path)).chroma(pictures))
        own = 1 + FACTORS.index(1)
        (line,) = axes.plot(shares, gains, label=name)
        axes.plot(shares[own], gains[own], "o", color=line.get_color(), fillstyle="none")
        # Beyond the strongest factor there is nothing to read off.
        cells = [np.interp(share, shares, gains, right=np.nan) for share in SHARES]
        shown = ("" if np.isnan(cell) else f"{cell:+.2f}" for cell in cells)
        print("|", name, "|", " | ".join(shown), f"| {gains[own]:+.2f} at {shares[own]:.0%} |")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="colourfulness, share of the truth's", ylabel="PSNR above grey, dB")
    axes.set(xlim=(0, 1.1), ylim=(-1.5, None))
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.savefig(output, dpi=150)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
