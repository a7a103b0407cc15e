"""Latents in NumPy and pandas, without aetool.

python examples/latents.py latents.h5 latents.parquet
"""

import sys

import h5py
import numpy as np


def main(latents: str, table: str | None = None) -> None:
    with h5py.File(latents) as file:
        features = file["features"][:]  # (n, d) float32
        paths = file["paths"].asstr(errors="surrogateescape")[:]
        if "labels" in file:
            names = np.append(file["class_names"].asstr()[:], "")  # -1, unknown, is the last
            labels = names[file["labels"][:]]
            print(dict(zip(*np.unique(labels, return_counts=True), strict=True)))
    print(features.shape, paths[0])

    if table:  # written by: aetool export latents.h5 latents.parquet
        import pandas

        frame = pandas.read_parquet(table)
        print(frame.groupby("label")["features"].agg(lambda rows: np.stack(rows).mean()))


if __name__ == "__main__":
    main(*sys.argv[1:])
