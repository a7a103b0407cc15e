"""What a model's scores of normal pictures are: fitted on some of them, judged by others."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from aetool.analysis.anomaly import FALSE_ALARMS, threshold
from aetool.analysis.detectors import COMBINED, FITTED, PARTS, Detector, combine_apart
from aetool.analysis.normals import TEXTURES, Normals, bank_pictures, fit, gaussians_for
from aetool.analysis.texture import texture
from aetool.errors import Failure, UsageError
from aetool.images.augment import augment
from aetool.images.source import Source
from aetool.inference.features import feature_engine
from aetool.inference.stream import Item, Progress, predictions
from aetool.storage.checkpoint import Checkpoint, write_checkpoint
from aetool.tasks.scores import PREFIX, SCORES, available, measure
from aetool.tasks.scoring import make_engine, network_inputs
from aetool.tasks.training_data import TrainingData
from aetool.training.pictures import Pictures

# A picture's inputs (tiles, h, w, c) and its rows of every output (tiles, ...); the whole picture
# is one tile unless it is cut.
Rows = Callable[[], Iterator[tuple[np.ndarray, Mapping[str, np.ndarray]]]]

# Pictures, or tiles of them, that are fitted, and held-out ones that are scored; of more, so many
# chosen at random.
LEARNT = 5000
HELD_OUT = 5000
FOLDS = 5
PASSES = 2
FEWEST = 2 * FOLDS
# Of numbers that differ by less than this share of the largest, nothing but rounding is left.
_ALIKE = 1e-6
# Maps are drawn up to a reference that the highest place of this share of normals stays below.
MAP_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of pictures, in their order.

    Args:
        scores: {name: float64 (n,)}.
        peaks: {map: float64 (n,)}, the highest value of each picture's map.
    """

    scores: dict[str, np.ndarray]
    peaks: dict[str, np.ndarray]


def calibrate_trained(checkpoint: Checkpoint, data: TrainingData, pair, seed: int) -> None:
    """Calibrate a model that was just trained, with the engine that will score new pictures.

    Args:
        checkpoint: its calibration is set.
        data: what it learnt from, and what was held out.
        pair: the function of training.pairs that makes its inputs.
        seed: of the training.
    """
    engine = feature_engine(replace(checkpoint))

    def rows(pictures: Pictures, most: int) -> Iterator[tuple]:
        order = np.random.default_rng((seed, 4)).permutation(len(pictures))
        chosen = np.sort(order[:most])
        for start in range(0, len(chosen), engine.batch_size):
            kept = pictures.take(chosen[start : start + engine.batch_size])
            # Pictures that are cropped in training are kept larger than the network's input.
            x, _ = pair(augment(kept, (), data.size, np.random.default_rng(0)))
            outputs = engine.predict(x)
            for n in range(len(x)):
                yield x[n : n + 1], {name: values[n : n + 1] for name, values in outputs.items()}

    calibrate(
        checkpoint,
        engine.precision,
        lambda: rows(data.pictures, LEARNT),
        lambda: rows(data.held_out, HELD_OUT),
        seed,
    )


def calibrate(
    checkpoint: Checkpoint, precision: str, learnt: Rows, held_out: Rows, seed: int = 0
) -> None:
    """Fit the scores to pictures that were learnt from, and note those of held-out normals.

    Args:
        checkpoint: its calibration is set.
        precision: that the outputs are computed in.
        learnt: makes the rows of normal pictures to fit, each time anew.
        held_out: of other normal pictures.
        seed: of what is chosen at random.
    """
    sample = _sample(learnt, _limits(checkpoint), seed)
    arrays = fit(sample.normals(np.full(sample.count, True)), seed)
    detector = Detector(arrays, (*available(checkpoint), *FITTED), _limits(checkpoint))
    _record(checkpoint, precision, arrays, _measure_all(held_out, lambda number: detector))


def calibrate_in_folds(
    checkpoint: Checkpoint, precision: str, normals: Rows, seed: int = 0
) -> None:
    """As `calibrate`, from one set of pictures: each is scored by what was fitted without it.

    Vovk, "Cross-conformal predictors" (2015). What is stored is fitted to all of them and finds
    normal pictures a little more normal still, so false alarms are no more than promised.

    Raises:
        UsageError: there are too few pictures, or all are one.
    """
    sample = _sample(normals, _limits(checkpoint), seed)
    if sample.count < FEWEST:
        raise UsageError(f"{sample.count} pictures are too few to calibrate with; give {FEWEST}")
    if np.ptp(sample.latents, axis=0).max() <= _ALIKE * np.abs(sample.latents).max():
        raise UsageError(
            f"the {sample.count} pictures are all alike: they do not show how normal ones differ",
            "give pictures of several parts",
        )
    fold = _folds(sample, seed)
    names = (*available(checkpoint), *FITTED)
    limits = _limits(checkpoint)
    parts = [sample.normals(fold != k) for k in range(FOLDS)]
    # As many Gaussians for all as for the least part: more of them follow their pictures closer
    # than those did that the scores are of, and find new ones odder.
    gaussians = gaussians_for(min(len(part.latents) for part in parts))
    detectors = [Detector(fit(part, seed, gaussians=gaussians), names, limits) for part in parts]
    measured = _measure_all(normals, lambda number: detectors[fold[number]])
    arrays = fit(sample.normals(np.full(sample.count, True)), seed, gaussians=gaussians)
    _record(checkpoint, precision, arrays, measured)


def _folds(sample: "_Sample", seed: int) -> np.ndarray:
    """The fold of each picture, int (n,): no fold has all those whose patches were kept."""
    rng = np.random.default_rng((seed, 3))
    kept = np.unique(sample.of_patches)
    while True:
        fold = rng.permutation(sample.count) % FOLDS
        if len(kept) < 2 or np.ptp(fold[kept]):
            return fold


@dataclass(frozen=True, slots=True)
class _Sample:
    """Features of normal pictures, as many as are fitted.

    Args:
        latents: (n, d).
        of_latents: (n,), which picture each is of.
        patches: (m, h, w, c).
        of_patches: (m,).
        textures: (k, h, w, c), of other ones.
        of_textures: (k,).
        count: of all the pictures.
    """

    latents: np.ndarray
    of_latents: np.ndarray
    patches: np.ndarray
    of_patches: np.ndarray
    textures: np.ndarray
    of_textures: np.ndarray
    count: int

    def normals(self, chosen: np.ndarray) -> Normals:
        """The features of the pictures that `chosen`, bool (count,), takes.

        Where it takes none that patches were kept of, those that were kept: all are of one picture
        then, cut into large tiles.
        """
        patches = self.patches[chosen[self.of_patches]]
        return Normals(
            self.latents[chosen[self.of_latents]],
            patches if len(patches) else self.patches,
            self.textures[chosen[self.of_textures]],
        )


class _Reservoir:
    """So many of the rows that come by, each with the same chance (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, seed: int):
        self._size = size
        self._rng = np.random.default_rng((seed, 2))
        self._seen = 0
        self.rows: list[np.ndarray] = []
        self.owners: list[int] = []

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows, which picture each is of)."""
        return np.stack(self.rows), np.array(self.owners)

    def offer(self, row: Callable[[], np.ndarray], owner: int) -> None:
        """Take a row, or pass it by without making it."""
        place = self._seen if self._seen < self._size else int(self._rng.integers(self._seen + 1))
        self._seen += 1
        if place == len(self.rows) < self._size:
            self.rows.append(row())
            self.owners.append(owner)
        elif place < self._size:
            self.rows[place], self.owners[place] = row(), owner


def _sample(rows: Rows, limits: tuple[float, float], seed: int) -> _Sample:
    low, high = limits
    latents, textures, patches = _Reservoir(LEARNT, seed), _Reservoir(TEXTURES, seed), None
    count = 0
    for inputs, outputs in rows():
        # Two at least: one is left out with its fold.
        bank = max(2, bank_pictures(*outputs["patches"].shape[1:3]))
        patches = patches or _Reservoir(bank, seed)
        tiles = zip(inputs, outputs["latents"], outputs["patches"], strict=True)
        for tile, latent, patch in tiles:
            latents.offer(latent.copy, count)
            patches.offer(patch.copy, count)
            textures.offer(partial(texture, (tile - low) / (high - low)), count)
        count += 1
    if patches is None:
        raise UsageError("no normal picture can be read")
    kept = [part for each in (latents, patches, textures) for part in each.arrays()]
    return _Sample(*kept, count)


def _measure_all(rows: Rows, detector: Callable[[int], Detector]) -> Measured:
    """Score the pictures, each with its own detector."""
    scores, peaks = [], []
    for number, (inputs, outputs) in enumerate(rows()):
        of_picture, maps = measure(detector(number), inputs, outputs)
        scores.append(of_picture)
        peaks.append({name: max(float(tile[name].max()) for tile in maps) for name in maps[0]})
    return Measured(_columns(scores), _columns(peaks))


def _columns(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _limits(checkpoint: Checkpoint) -> tuple[float, float]:
    """(least, greatest) value of the network's inputs."""
    return tuple(checkpoint.metadata["preprocessing"]["range"])


def _record(
    checkpoint: Checkpoint, precision: str, arrays: Mapping[str, np.ndarray], measured: Measured
) -> None:
    parts = {name: measured.scores[name] for name in PARTS}
    scores = {**measured.scores, COMBINED: combine_apart(parts)}
    checkpoint.arrays = {
        **{name: a for name, a in checkpoint.arrays.items() if not name.startswith(PREFIX)},
        **{PREFIX + name: array for name, array in arrays.items()},
        **{f"{SCORES}/{name}": np.sort(values) for name, values in scores.items()},
    }
    checkpoint.metadata["calibration"] = {
        "score": COMBINED,
        "parts": list(PARTS),
        "quantile": 1 - FALSE_ALARMS,
        "threshold": threshold(scores[COMBINED]),
        "count": len(scores[COMBINED]),
        "precision": precision,
        "thresholds": {name: threshold(values) for name, values in scores.items()},
        "maps": {name: float(np.quantile(p, MAP_QUANTILE)) for name, p in measured.peaks.items()},
    }


def calibrate_file(
    pictures: Source,
    stored: Checkpoint,
    output: Path,
    *,
    tile: int | None,
    precision: str,
    batch_size: int | None,
    max_pixels: int,
    progress: Progress | None,
) -> tuple[dict, list[Failure], list[int]]:
    """Calibrate a stored model anew from a source of normal pictures, and write it.

    Returns:
        What the file now says of its calibration; the pictures left out, in input order; and those
        with several pages.
    """
    preprocessing = stored.metadata["preprocessing"]
    size = tuple(preprocessing["size"])
    engine = make_engine(replace(stored), precision, batch_size, tile)
    failures: list[Failure] = []
    several_pages: set[int] = set()
    passes = 0

    def load(i: int) -> Item:
        picture = pictures.load(i, max_pixels=max_pixels, reduce_to=None if tile else size)
        if picture.frames > 1:
            several_pages.add(i)
        return Item(i, network_inputs(picture.pixels, preprocessing, tile))

    def tell(done: int, total: int) -> None:
        if progress:
            progress(passes * total + done, PASSES * total)

    def rows() -> Iterator[tuple]:
        nonlocal passes
        failures.clear()
        everything = range(len(pictures))
        batches = predictions(pictures, everything, load, lambda: engine, failures, progress=tell)
        for items, outputs in batches:
            for n, item in enumerate(items):
                row = {name: values[n] for name, values in outputs.items()}
                yield (
                    (item.inputs, row)
                    if tile
                    else (item.inputs[None], {name: values[None] for name, values in row.items()})
                )
        passes += 1

    calibrate_in_folds(stored, engine.precision, rows)
    about = stored.metadata["calibration"]
    if tile:
        about["tile"] = tile
    write_checkpoint(output, stored)
    return about, failures, sorted(several_pages)
