"""Group latents into clusters, score them against known labels, show and keep what was found."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.analysis.count import Count
from aetool.analysis.groups import LEAST_ROWS, Grouper, Grouping, apply
from aetool.analysis.rows import blocks, moments
from aetool.analysis.scores import (
    accuracy,
    adjusted_rand_index,
    contingency,
    normalized_mutual_information,
    purity,
    silhouette,
)
from aetool.errors import Failure, UsageError
from aetool.storage.exchange import write_rows
from aetool.storage.fitted import check_fits
from aetool.storage.joined import listed_files, open_joined
from aetool.storage.latents import Latents
from aetool.tasks.copies import check_copies, copy_pictures
from aetool.tasks.fitted import load_model, save_model
from aetool.tasks.outputs import check_outputs, held
from aetool.tasks.sheets import Pictures, check_sheets, write_sheets

Progress = Callable[[int, int], None]

# With fewer the places on the map are not held together, and their distances have no limit.
_LEAST_MAPPED = 5


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """What `cluster_latents` found.

    Args:
        k: clusters.
        k_choice: how k was chosen, where the program chose it.
        method: "manifold", "gmm" or "kmeans".
        repeats: runs, each from its own seed; the table is that of the one that its method rates
            highest.
        cluster_sizes: rows in each cluster of the table; descending, unless the clusters are those
            of an earlier run.
        outliers: rows far outside their cluster.
        silhouette: of the table's clusters among the latents, -1 to 1; None where undefined.
        purity_mean, purity_std, accuracy_mean, nmi_mean, ari_mean: over the repeats, against the
            labels; None without labels or where undefined.
        failed: pictures that should be shown and cannot.
        seconds: for all repeats, reading and showing included.
    """

    k: int
    k_choice: Count | None
    method: str
    repeats: int
    cluster_sizes: tuple[int, ...]
    outliers: int
    silhouette: float | None
    purity_mean: float | None
    purity_std: float | None
    accuracy_mean: float | None
    nmi_mean: float | None
    ari_mean: float | None
    failed: tuple[Failure, ...]
    seconds: float

    @property
    def read(self) -> int:
        """Rows whose pictures did not fail, which --allow-failures counts against."""
        return sum(self.cluster_sizes) - len(self.failed)


def cluster_latents(
    latents: str | Sequence[str],
    output: Path | None,
    *,
    k: int | None = None,
    method: str | None = None,
    repeats: int = 1,
    seed: int = 0,
    save: Path | None = None,
    apply_model: Path | None = None,
    outliers: bool = False,
    probabilities: bool = False,
    sheets: Path | None = None,
    copy_to: Path | None = None,
    copy_as: str = "copy",
    plot: Path | None = None,
    thumbnails: bool = False,
    page: Path | None = None,
    images: str | None = None,
    progress: Progress | None = None,
) -> ClusterResult:
    """Cluster rows and write one each: path, label, cluster, distance to its middle.

    Args:
        latents: what `open_joined` takes.
        output: the CSV; None for standard output.
        k: clusters; None lets the silhouette choose.
        method: one of `METHODS`; None: "manifold", but "kmeans" for fewer than LEAST_ROWS rows.
        repeats: runs from different seeds.
        seed: the same seed gives the same bytes.
        save: a file for the clustering.
        apply_model: a file that `save` wrote: its clusters are used, none are looked for.
        outliers: add the column `outlier`, 0 or 1.
        probabilities: add a column for each cluster, `p0` and so on; not for k-means.
        sheets: folder for cluster-00.png and so on, the pictures nearest to the middle first.
        copy_to: folder for the pictures themselves, sorted into cluster-00/ and so on.
        copy_as: "copy", "link" or "symlink".
        plot: a .png, .pdf or .svg: the rows on a map, by cluster and by class.
        thumbnails: show the pictures of some rows on the plot.
        page: a .html with the same map and all thumbnails.
        images: the SOURCE that the pictures are in now; without it the one they were encoded from.
        progress: called with (percent done, 100).

    Raises:
        UsageError: k is more than the rows, or the method and the options do not go together.
        FormatError: the latents or the clustering cannot be read or do not fit one another, or the
            latents are empty or not finite.
        SourceError: the pictures to show cannot be found.
        OutputError: an output cannot be written.
    """
    started = time.perf_counter()
    if plot or page:
        # Drawing takes longer to import than most latents to cluster.
        from aetool.plots.style import check_figure_path
        from aetool.tasks.maps import write_cluster_page, write_cluster_plot
    if plot:
        check_figure_path(plot)
    with ExitStack() as stack:
        files = listed_files(latents)
        outputs = (output, sheets, copy_to, plot, page, save)
        stack.enter_context(held(outputs, (*files, apply_model)))
        rows = stack.enter_context(open_joined(files))
        model, fitted = load_model(apply_model) if apply_model else (None, None)
        if model is not None:
            check_fits(apply_model, fitted, model.dimensions, rows)
            method = model.method
        method = method or ("manifold" if len(rows) >= LEAST_ROWS else "kmeans")
        _check_method(method, probabilities)
        if model is None:
            _check_rows(len(rows), k, method)
        shown = sheets or copy_to or page or (plot and thumbnails)
        pictures = Pictures(rows, images) if shown else None
        if pictures:
            check_outputs(outputs, [pictures.inputs])
        if sheets:
            check_sheets(sheets, pictures)
        if copy_to:
            check_copies(copy_to, pictures, len(rows))
        labels = np.full(len(rows), -1) if rows.labels is None else rows.labels
        count, tables, best = None, [], None
        if model is not None:
            moments(rows.features)  # refuses rows that are none
            runs: Iterator[Grouping] = iter([apply(model, rows.features)])
        else:
            grouper = Grouper(rows.features, method, seed=seed, progress=_part(progress, 0, 55))
            if k is None:
                count = grouper.count(seed=seed, progress=_part(progress, 55, 75))
            seeds = [[seed, repeat] for repeat in range(repeats)]
            runs = grouper.runs(k or count.k, seeds)
        for grouping in runs:
            if best is None or grouping.quality > best.quality:
                best = grouping
            tables.append(contingency(labels, grouping.labels))
            _part(progress, 75, 90)(len(tables) / repeats)
        far = best.outliers()
        _write(output, rows, best, far if outliers else None, probabilities)
        if save:
            save_model(save, best.model, rows.checkpoint)
        failed = []
        if sheets:
            failed += write_sheets(sheets, best, pictures, _part(progress, 90, 93))
        if copy_to:
            failed += copy_pictures(copy_to, best, pictures, copy_as, _part(progress, 93, 97))
        if plot:
            write_cluster_plot(plot, rows, best, pictures if thumbnails else None)
        if page:
            write_cluster_page(page, rows, best, pictures)
        failed += pictures.failures if pictures else []
        purities = [purity(table) for table in tables]
        return ClusterResult(
            k=best.model.k,
            k_choice=count,
            method=method,
            repeats=repeats,
            cluster_sizes=tuple(best.sizes.tolist()),
            outliers=int(far.sum()),
            silhouette=silhouette(rows.features, best.labels, seed=seed),
            purity_mean=_mean(purities),
            purity_std=None if None in purities else float(np.std(purities)),
            accuracy_mean=_mean([accuracy(table) for table in tables]),
            nmi_mean=_mean([normalized_mutual_information(table) for table in tables]),
            ari_mean=_mean([adjusted_rand_index(table) for table in tables]),
            failed=tuple(dict.fromkeys(failed)),
            seconds=time.perf_counter() - started,
        )


def _check_method(method: str, probabilities: bool) -> None:
    if probabilities and method == "kmeans":
        raise UsageError(
            "k-means knows no probabilities: a row belongs to one cluster",
            "take --method gmm or --method manifold",
        )


def _check_rows(count: int, k: int | None, method: str) -> None:
    """Refuse rows too few to find clusters in; that there are none is said later."""
    if k is not None and 0 < count < k:
        raise UsageError(
            f"{k} clusters cannot be made of {count} rows", f"ask for at most -k {count}"
        )
    if 0 < count < 3 and (k is None or method != "kmeans"):
        raise UsageError(
            f"{count} rows are too few to learn from", "say -k 1 and take --method kmeans"
        )
    if 0 < count < _LEAST_MAPPED and method == "manifold":
        raise UsageError(
            f"{count} rows are too few to draw a map of their neighbours", "take --method kmeans"
        )


def _write(
    output: Path | None,
    rows: Latents,
    grouping: Grouping,
    far: np.ndarray | None,
    probabilities: bool,
) -> None:
    header, columns = ["cluster", "distance"], [grouping.labels, grouping.distances]
    if far is not None:
        header.append("outlier")
        columns.append(far)
    if probabilities:
        header += [f"p{cluster}" for cluster in range(grouping.model.k)]

    def with_probabilities() -> Iterator[list[np.ndarray]]:
        for start, block in blocks(grouping.places):
            part = [column[start : start + len(block)] for column in columns]
            yield [*part, *grouping.model.cells.probabilities(block).T]

    write_rows(output, rows, header, with_probabilities() if probabilities else [columns])


def _part(progress: Progress | None, start: int, end: int) -> Callable[[float], None]:
    """Progress of one part of the work, 0 to 1, as percent of the whole."""

    def tell(share: float) -> None:
        if progress:
            progress(round(start + share * (end - start)), 100)

    return tell


def _mean(values: list[float | None]) -> float | None:
    return None if None in values else float(np.mean(values))
