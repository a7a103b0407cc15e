"""A model or latents as a file that other programs read."""

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from aetool.errors import OutputError, UsageError
from aetool.storage.atomic import FOLDER_LOCK, replacing, replacing_folder
from aetool.storage.container import container_kind, open_container
from aetool.storage.exchange import WRITERS, check_writer, write_csv
from aetool.storage.latents import open_latents
from aetool.tasks.outputs import held

STDIN = STDOUT = "-"
ONNX, KERAS, SAVED_MODEL = ".onnx", ".keras", ""  # what a model becomes, by the suffix of OUT
SAVED_MODEL_FILE = "saved_model.pb"
SAVED_MODEL_PARTS = {
    SAVED_MODEL_FILE,
    "fingerprint.pb",
    "keras_metadata.pb",
    "variables",
    "assets",
    "assets.extra",
}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written.

    Args:
        format: "onnx", "saved-model", "keras", "npz", "csv" or "parquet".
        bytes: size of the file, or of all files of a SavedModel; None on standard output.
        rows: of latents; None for a model.
        dimensions: numbers a row; None for a model.
        seconds: wall time.
    """

    format: str
    bytes: int | None
    rows: int | None
    dimensions: int | None
    seconds: float


def export_file(file: str, out: str) -> ExportResult:
    """Write a model or latents in the format that the suffix of `out` names, whole or not at all.

    Args:
        file: a checkpoint, or latents as `open_latents` takes them.
        out: for a model NAME.onnx, NAME.keras or a folder for a SavedModel; for latents NAME.npz,
            NAME.csv, NAME.parquet, or "-" for CSV on standard output.

    Raises:
        UsageError: a suffix that stands for no format of a model, or of latents.
        FormatError: the file cannot be read.
        MissingExtra: the format needs packages that are not installed.
        OutputError: `out` cannot be written, or is a folder that holds something else.
    """
    started = time.perf_counter()
    kind = container_kind(Path(file))
    is_model = kind == "checkpoint"
    suffix = Path(out).suffix.lower()
    is_table = file == STDIN or Path(file).suffix.lower() in (".npy", *WRITERS)
    if kind is None and not is_table and _is_for_model(out):
        open_container(Path(file), "checkpoint").close()  # raises what is wrong with it
    _check_suffix(file, out, is_model)
    with ExitStack() as stack:
        stack.enter_context(held([out], [file]))
        if is_model:
            rows = dimensions = None
            _export_model(Path(file), Path(out))
            name = suffix.removeprefix(".") or "saved-model"
        else:
            rows, dimensions = _export_latents(file, out)
            name = "csv" if out == STDOUT else suffix.removeprefix(".")
    size = None if out == STDOUT else _bytes(Path(out))
    return ExportResult(name, size, rows, dimensions, time.perf_counter() - started)


def _check_suffix(file: str, out: str, is_model: bool) -> None:
    to_latents = out == STDOUT or Path(out).suffix.lower() in WRITERS
    if is_model and not _is_for_model(out):
        raise UsageError(
            f"{out} is no file for a model, which {file} is",
            "name a .onnx or .keras file, or a folder for a SavedModel",
        )
    if not is_model and not to_latents:
        raise UsageError(
            f"{out} is no file for latents, and {file} is no model",
            f"name a {', '.join(WRITERS)} file",
        )


def _is_for_model(out: str) -> bool:
    return out != STDOUT and Path(out).suffix.lower() in (ONNX, KERAS, SAVED_MODEL)


def _export_model(file: Path, out: Path) -> None:
    # Imported here: latents are written without TensorFlow.
    from aetool.inference import export
    from aetool.inference.load import load_model

    suffix = out.suffix.lower()
    if suffix == ONNX:
        export.onnx_libraries(f"writing {out}")
    elif suffix == SAVED_MODEL:
        _check_folder(out)
    loaded = load_model(file)
    if suffix == SAVED_MODEL:
        with replacing_folder(out) as folder:
            export.write_saved_model(folder, loaded)
        return
    with replacing(out) as temporary:
        write = export.write_onnx if suffix == ONNX else export.write_keras
        write(temporary, loaded)


def _export_latents(file: str, out: str) -> tuple[int, int]:
    check_writer(Path(out))
    with open_latents(file) as latents:
        if out == STDOUT:
            write_csv(None, latents)
        else:
            WRITERS[Path(out).suffix.lower()](Path(out), latents)
        return len(latents), latents.dimensions


def _check_folder(out: Path) -> None:
    """Only an older SavedModel, or nothing, gives way to a new one."""
    held = {path.name for path in out.iterdir()} - {FOLDER_LOCK} if out.is_dir() else set()
    if held - SAVED_MODEL_PARTS or (held and SAVED_MODEL_FILE not in held):
        raise OutputError(
            f"{out} holds something that is no part of a SavedModel", "name a new folder"
        )
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file", "name a folder, or a file that ends in .onnx")


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]
    return sum(os.path.getsize(entry) for entry in files)
