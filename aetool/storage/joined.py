"""Several files of latents as one: their rows one after the other, none of them held in memory."""

import os
import resource
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from aetool.errors import FormatError
from aetool.storage.latents import Latents, open_latents

_OTHER_FILES = 64  # that the process may hold open beside those of latents


def listed_files(texts: str | Path | Sequence[str | Path]) -> list[str]:
    """The files that `open_joined` would open, those of lists one by one; it takes these too.

    A list may be a pipe, so it is read once.
    """
    texts = [texts] if isinstance(texts, str | Path) else texts
    names = (name for text in texts for name in _listed(str(text)))
    return [f"./{name}" if name.startswith("@") else name for name in names]


def open_joined(texts: str | Path | Sequence[str | Path]) -> Latents:
    """Open latents, or several files of them as if they were one.

    Rows keep the order of the files. Names of pictures from several sources are made relative to
    the deepest folder that holds all of these. Labels are matched by the names of their classes.

    Args:
        texts: one or several of what `open_latents` takes, or "@LIST", a file with such names,
            one a line or each ended by a NUL character. A file whose name begins with "@" is given
            as "./@NAME".

    Raises:
        FormatError: a file cannot be read, or its rows cannot be compared with those of the first:
            they are of another length, encoder or precision.
    """
    names = listed_files(texts)
    if names.count("-") > 1:
        raise FormatError("standard input is given twice", "name every file once")
    if len(names) == 1:
        return open_latents(names[0])
    allow_files(len(names))
    with ExitStack() as resources:
        parts = [resources.enter_context(open_latents(name)) for name in names]
        first = parts[0]
        for part in parts:
            _check_comparable(first, part)
        source, paths = _place(parts)
        class_names, labels = _labels(parts)
        joined = Latents(
            Stacked([part.features for part in parts]),
            index=np.concatenate([part.index for part in parts])
            if source == first.source
            else np.arange(sum(map(len, parts))),
            paths=paths,
            labels=labels,
            class_names=class_names,
            source=source,
            feature_shape=first.feature_shape,
            precision=first.precision,
            checkpoint=first.checkpoint,
            name=f"{first.name} and {len(parts) - 1} more",
        )
        joined._resources = resources.pop_all()
        return joined


class Stacked:
    """Rows of several matrices of one width, read by slices.

    Args:
        matrices: (n_i, d) each, in memory or on disk.
    """

    def __init__(self, matrices: Sequence):
        self._matrices = matrices
        self._starts = np.cumsum([0, *(matrix.shape[0] for matrix in matrices)])
        self.shape = (int(self._starts[-1]), matrices[0].shape[1])
        self.dtype = np.result_type(*(matrix.dtype for matrix in matrices))

    def __getitem__(self, rows: slice) -> np.ndarray:
        """The rows of a slice without a step."""
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("rows are read one after the other")
        taken = np.empty((max(0, stop - start), self.shape[1]), self.dtype)
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        for matrix, begin in zip(self._matrices[first:], self._starts[first:], strict=False):
            if begin >= stop:
                break
            own = matrix[max(0, start - begin) : stop - begin]
            at = max(begin, start) - start
            taken[at : at + len(own)] = own
        return taken


def allow_files(count: int) -> None:
    """Let the process hold so many files open, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _listed(text: str) -> list[str]:
    """The names that a text stands for: those of "@LIST", else itself."""
    if not text.startswith("@"):
        return [text]
    try:
        data = Path(text[1:]).read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {text}: {os.strerror(error.errno).lower()}") from error
    data = data.removeprefix(b"\xef\xbb\xbf")  # the mark that some editors begin a text with
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    names = [os.fsdecode(line) for line in lines if line.strip()]
    if not names:
        raise FormatError(f"{text} lists no files", "name latents in it, one a line")
    return names


def _check_comparable(first: Latents, part: Latents) -> None:
    for what in ("dimensions", "feature_shape", "checkpoint", "precision"):
        if getattr(part, what) != getattr(first, what):
            raise FormatError(
                f"{part.name} has another {what.replace('_', ' ')} than {first.name}: "
                "their rows cannot be compared",
                "encode all sources with the same model and options",
            )


def _place(parts: Sequence[Latents]) -> tuple[str, list[str]]:
    """A source for all, and every picture's name relative to it."""
    sources = [part.source for part in parts]
    if len(set(sources)) == 1:
        return sources[0], [path for part in parts for path in part.paths]
    root = os.path.commonpath(sources) if all(map(os.path.isabs, sources)) else ""
    if os.path.isfile(root):  # splits of one file, whose rows are named alike in the whole of it
        return root, [path for part in parts for path in part.paths]
    paths = []
    for part in parts:
        below = os.path.relpath(part.source, root) if root else part.source
        prefix = "" if below in ("", ".") else f"{below}/"
        paths += [prefix + path for path in part.paths]
    return root, paths


def _labels(parts: Sequence[Latents]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """The classes of all parts, in the order they come up, and each row's."""
    class_names = tuple(dict.fromkeys(name for part in parts for name in part.class_names))
    if not class_names:
        return (), None
    labels = []
    for part in parts:
        # One more, -1, for rows whose label is unknown.
        numbers = np.array([*map(class_names.index, part.class_names), -1], np.int32)
        known = np.full(len(part), -1) if part.labels is None else part.labels
        labels.append(numbers[known])
    return class_names, np.concatenate(labels)
