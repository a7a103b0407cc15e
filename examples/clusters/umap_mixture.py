"""UMAP and a Gaussian mixture, to compare `aetool cluster` with: umap_mixture.py LATENTS.h5 K

UMAP as its own manual sets it for clustering (30 neighbours, no least distance), the mixture as
scikit-learn has it, ten seeds on one map. Prints the keys of `aetool cluster --json`.
"""

import json
import sys
import time

import numpy as np
import umap
from sklearn.mixture import GaussianMixture

from aetool.analysis.scores import (
    accuracy,
    adjusted_rand_index,
    contingency,
    normalized_mutual_information,
    purity,
)
from aetool.storage.latents import open_latents

SEEDS = 10


def main(latents: str, k: str) -> None:
    with open_latents(latents) as rows:
        features, labels = np.asarray(rows.features[:], np.float32), np.asarray(rows.labels)
    started = time.perf_counter()
    places = umap.UMAP(n_neighbors=30, min_dist=0.0).fit_transform(features)
    tables = []
    for seed in range(SEEDS):
        found = GaussianMixture(int(k), random_state=seed).fit_predict(places)
        tables.append(contingency(labels, found))
    scores = {
        "purity": purity,
        "accuracy": accuracy,
        "nmi": normalized_mutual_information,
        "ari": adjusted_rand_index,
    }
    values = {name: [score(table) for table in tables] for name, score in scores.items()}
    print(
        json.dumps(
            {
                **{f"{name}_mean": float(np.mean(each)) for name, each in values.items()},
                "purity_std": float(np.std(values["purity"])),
                "repeats": SEEDS,
                "seconds": time.perf_counter() - started,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
