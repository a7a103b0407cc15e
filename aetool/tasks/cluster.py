"""Group latents into clusters, score them against known labels, show each on a contact sheet."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.analysis.clustering import repeated_kmeans
from aetool.analysis.scores import (
    accuracy,
    adjusted_rand_index,
    contingency,
    normalized_mutual_information,
    purity,
    silhouette,
)
from aetool.errors import Failure, UsageError
from aetool.storage.atomic import locked
from aetool.storage.latents import open_latents
from aetool.storage.tables import write_table
from aetool.tasks.sheets import Pictures, write_sheets

Progress = Callable[[int, int], None]

HEADER = ("path", "label", "cluster", "distance")


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """What `cluster_latents` found.

    Args:
        k: clusters asked for.
        method: "kmeans".
        repeats: runs, each from its own seed; the table is that of the one with the least inertia.
        cluster_sizes: rows in each cluster of the table, descending.
        silhouette: of the table's clusters, -1 to 1; None where undefined.
        purity_mean, purity_std, accuracy_mean, nmi_mean, ari_mean: over the repeats, against the
            labels; None without labels or where undefined.
        failed: pictures that a sheet should show and cannot.
    """

    k: int
    method: str
    repeats: int
    cluster_sizes: tuple[int, ...]
    silhouette: float | None
    purity_mean: float | None
    purity_std: float | None
    accuracy_mean: float | None
    nmi_mean: float | None
    ari_mean: float | None
    failed: tuple[Failure, ...]


def cluster_latents(
    latents: str,
    output: Path | None,
    *,
    k: int,
    repeats: int = 1,
    seed: int = 0,
    sheets: Path | None = None,
    images: str | None = None,
    progress: Progress | None = None,
) -> ClusterResult:
    """Cluster rows by k-means and write a row each: path, label, cluster, distance to its centre.

    Args:
        latents: what `open_latents` takes.
        output: the CSV; None for standard output.
        k: clusters.
        repeats: runs from different seeds.
        seed: the same seed gives the same bytes.
        sheets: folder for cluster-00.png and so on, the pictures nearest to the centre first.
        images: the SOURCE that the pictures are in now; without it the one they were encoded from.
        progress: called with (steps done, all steps).

    Raises:
        UsageError: k is more than the rows.
        FormatError: the latents cannot be read, are empty or not finite.
        SourceError: the pictures for the sheets cannot be found.
        OutputError: an output cannot be written.
    """
    with ExitStack() as stack:
        for target in filter(None, (output, sheets)):
            stack.enter_context(locked(target))
        rows = stack.enter_context(open_latents(latents))
        if 0 < len(rows) < k:
            raise UsageError(
                f"{k} clusters cannot be made of {len(rows)} rows",
                f"ask for at most -k {len(rows)}",
            )
        pictures = Pictures(rows, images) if sheets else None
        steps = repeats + (k if sheets else 0)
        labels = np.full(len(rows), -1) if rows.labels is None else rows.labels
        best, tables = None, []
        seeds = ([seed, repeat] for repeat in range(repeats))
        for clustering in repeated_kmeans(rows.features, k, seeds=seeds):
            if best is None or clustering.inertia < best.inertia:
                best = clustering
            tables.append(contingency(labels, clustering.labels))
            if progress:
                progress(len(tables), steps)
        names = (*rows.class_names, None)  # the last is that of label -1
        known = (names[label] for label in labels)
        cells = zip(rows.paths, known, best.labels, best.distances, strict=True)
        write_table(output, HEADER, cells)
        failed = []
        if sheets:
            failed = write_sheets(
                sheets, best, pictures, lambda done: progress and progress(repeats + done, steps)
            )
        purities = [purity(table) for table in tables]
        return ClusterResult(
            k=k,
            method="kmeans",
            repeats=repeats,
            cluster_sizes=tuple(best.sizes.tolist()),
            silhouette=silhouette(rows.features, best.labels, seed=seed),
            purity_mean=_mean(purities),
            purity_std=None if None in purities else float(np.std(purities)),
            accuracy_mean=_mean([accuracy(table) for table in tables]),
            nmi_mean=_mean([normalized_mutual_information(table) for table in tables]),
            ari_mean=_mean([adjusted_rand_index(table) for table in tables]),
            failed=tuple(failed),
        )


def _mean(values: list[float | None]) -> float | None:
    return None if None in values else float(np.mean(values))
