"""Every anomaly score of a model beside each other.

    python scores.py measure MODEL.h5 TEST [--masks GROUND_TRUTH] > scores.json
    python scores.py table CLASS-SEED.json ... > table.md
    python scores.py defects a.json b.json ... > table.md

`measure` scores the pictures of TEST, whose labels say which are normal: those the model was
trained on, good, or normal. With masks it measures the maps too. `table` has a row for each CLASS,
means over its files; `defects` a row for each score, and a column for each label of an anomaly.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aetool.analysis.anomaly import FALSE_ALARMS, auroc, threshold
from aetool.analysis.detectors import COMBINED, FITTED, LOCAL, PARTS, Detector, combine
from aetool.analysis.pixels import PixelScores
from aetool.images.source import open_source
from aetool.inference.features import feature_engine
from aetool.inference.prepare import restore_map
from aetool.storage.checkpoint import read_checkpoint
from aetool.tasks.masks import Masks
from aetool.tasks.scores import NORMAL, available, calibration_scores, fitted_arrays
from aetool.tasks.scoring import network_inputs

MAPS = ("mse", *LOCAL)
ALL = "all"


def measure(model: str, test: str, masks: str | None = None) -> dict:
    """{score: what it is worth}, and of the maps under "pixels"."""
    checkpoint = read_checkpoint(Path(model))
    about, preprocessing = checkpoint.metadata["calibration"], checkpoint.metadata["preprocessing"]
    normals = calibration_scores(checkpoint)
    names = (*available(checkpoint), *FITTED)
    detector = Detector(fitted_arrays(checkpoint), names, preprocessing["range"])
    engine = feature_engine(checkpoint, precision=about["precision"])
    pictures = open_source(test)
    labels = [pictures.class_names[pictures.label(i)] for i in range(len(pictures))]
    normal = checkpoint.metadata["training"]["options"]["only"] or NORMAL
    odd = np.array([label not in normal for label in labels])
    truth = Masks(Path(masks)) if masks else None
    defects = sorted({label for label in labels if label not in normal})
    pixels = {name: {each: PixelScores() for each in (ALL, *defects)} for name in MAPS}

    started = time.perf_counter()
    values = {name: np.zeros(len(pictures)) for name in names}
    for first in range(0, len(pictures), engine.batch_size):
        rows = range(first, min(first + engine.batch_size, len(pictures)))
        inputs = [network_inputs(pictures.load(i).pixels, preprocessing, None) for i in rows]
        outputs = engine.predict(np.stack(inputs))
        for n, i in enumerate(rows):
            found, maps = detector.measure(inputs[n], {k: v[n] for k, v in outputs.items()})
            for name in names:
                values[name][i] = found[name]
            if truth:
                size = inputs[n].shape[:2]
                mask = truth.load(pictures, i, size)
                of = (ALL, labels[i]) if odd[i] else (ALL, *defects)
                for name in MAPS:
                    found_there = restore_map(maps[name], size, size, preprocessing["fit"])
                    for each in of:
                        pixels[name][each].add(found_there, mask)
    seconds = time.perf_counter() - started

    values[COMBINED] = combine({name: values[name] for name in PARTS}, normals)
    results = {}
    for name, scores in values.items():
        limit = threshold(normals[name], FALSE_ALARMS)
        results[name] = {
            "auroc": auroc(scores, odd),
            "false_alarms": float((scores[~odd] > limit).mean()),
            "found": float((scores[odd] > limit).mean()),
            "labels": {
                label: auroc(scores[rows], odd[rows])
                for label in defects
                for rows in [~odd | (np.array(labels) == label)]
            },
        }
        if truth and name in MAPS:
            results[name]["pixels"] = {each: p.auroc() for each, p in pixels[name].items()}
    return {
        "scores": results,
        "calibrated_by": about["count"],
        "normal": int((~odd).sum()),
        "seconds_per_picture": seconds / len(pictures),
        "trained_seconds": _trained_seconds(model),
    }


def _trained_seconds(model: str) -> float | None:
    """What the training beside a model said it took."""
    said = Path(model).with_name(Path(model).stem + "-trained.json")
    return json.loads(said.read_text("utf-8"))["seconds"] if said.exists() else None


def mean(values: Iterable[float]) -> str:
    return f"{statistics.mean(values):.3f}"


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def head(cells: list[str]) -> list[str]:
    return [row(cells), "|" + "---|" * len(cells)]


def table(named: dict[str, list[dict]]) -> list[str]:
    """A row a class, the combined score's every training in it, and the means of all columns."""
    first = next(iter(named.values()))[0]
    others = [name for name in first["scores"] if name != COMBINED]
    lines = head(["normal", COMBINED, "each", *others, "false alarms", "found", "s to train"])
    columns: dict[str, list[float]] = {}
    for name, runs in named.items():
        cells = {score: [run["scores"][score]["auroc"] for run in runs] for score in others}
        best = [run["scores"][COMBINED] for run in runs]
        cells = {COMBINED: [each["auroc"] for each in best], **cells}
        for what in ("false_alarms", "found"):
            cells[what] = [each[what] for each in best]
        for column, values in cells.items():
            columns.setdefault(column, []).append(statistics.mean(values))
        each = ", ".join(f"{value:.3f}" for value in cells[COMBINED])
        taken = [run["trained_seconds"] for run in runs if run["trained_seconds"]]
        shown = [mean(values) for values in cells.values()]
        seconds = f"{statistics.mean(taken):.0f}" if taken else ""
        lines.append(row([name, shown[0], each, *shown[1:], seconds]))
    shown = [mean(values) for values in columns.values()]
    lines.append(row(["mean", shown[0], "", *shown[1:], ""]))
    return lines


def defects(runs: list[dict]) -> list[str]:
    """A row a score: AUROC over all and by defect, of pictures and of pixels, and the verdicts."""
    first = runs[0]["scores"]
    kinds = list(first[COMBINED]["labels"])
    of_pixels = [f"pixels: {kind}" for kind in (ALL, *kinds)]
    lines = head(["score", "all", "each", *kinds, *of_pixels, "false alarms", "found"])
    for name in first:
        found = [run["scores"][name] for run in runs]
        lines.append(
            row(
                [
                    name,
                    mean(each["auroc"] for each in found),
                    ", ".join(f"{each['auroc']:.3f}" for each in found),
                    *(mean(each["labels"][kind] for each in found) for kind in kinds),
                    *(
                        mean(each["pixels"][kind] for each in found) if "pixels" in found[0] else ""
                        for kind in (ALL, *kinds)
                    ),
                    mean(each["false_alarms"] for each in found),
                    mean(each["found"] for each in found),
                ]
            )
        )
    return lines


def read(paths: Iterable[str]) -> list[dict]:
    return [json.loads(Path(path).read_text("utf-8")) for path in paths]


def main(what: str, *words: str) -> None:
    if what == "measure" and len(words) in (2, 4):
        model, test, *masks = words
        print(json.dumps(measure(model, test, masks[1] if masks else None), indent=1))
    elif what == "table" and words:
        named: dict[str, list[dict]] = {}
        for path, run in zip(words, read(words), strict=True):
            named.setdefault(Path(path).stem.rpartition("-")[0], []).append(run)
        print("\n".join(table(named)))
    elif what == "defects" and words:
        print("\n".join(defects(read(words))))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
