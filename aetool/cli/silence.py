"""Import TensorFlow quietly and without delay, whoever imports it first.

TF_CPP_MIN_LOG_LEVEL silences most of its start-up chatter. A few lines (the oneDNN banner, missing
CUDA drivers) are written to file descriptor 2 before TensorFlow reads that variable, so its import
is watched too.

A fifth of the import would be Python looking for garbage among modules that are there to stay, and
another fifth what Keras wraps or draws with wherever it is installed.
"""

import gc
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# Lines of TensorFlow's log: severity, date, "00:00:00.000", thread, file:line] message.
CHATTER = re.compile(rb"[IWE]\d{4} |WARNING: All log messages before absl|To enable the following")


def silence_tensorflow() -> None:
    """Settle how TensorFlow is to be imported and to run: quietly, and with oneDNN.

    TF_CPP_MIN_LOG_LEVEL and TF_ENABLE_ONEDNN_OPTS stay as the user has set them.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only one whose graphs aetool can freeze
    # TensorFlow takes oneDNN by itself on newer processors alone; its own convolutions are slower.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    finder = _Finder()
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        # A training of several networks traces each: TensorFlow takes that for a mistake.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        finder.around["tensorflow"].append(_without_chatter)
    sys.meta_path.insert(0, finder)


# aetool uses what it needs of these by itself.
_EXTRAS = ("matplotlib", "pandas", "sklearn")
Around = Callable[[], AbstractContextManager[None]]


class _Finder(MetaPathFinder):
    """Finds Keras and TensorFlow, each once, and loads each within contexts of its own."""

    def __init__(self):
        self.around = {
            "keras": [_without_collections, self._without_extras],
            "tensorflow": [_without_collections],
        }
        self._sparing: int | None = None  # the thread that imports Keras

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in _EXTRAS and self._sparing == threading.get_ident():
            raise ModuleNotFoundError(f"{name} is not imported for Keras", name=name)
        if name not in self.around:
            return None
        around = self.around.pop(name)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, around)
        return spec

    @contextmanager
    def _without_extras(self) -> Iterator[None]:
        """Let Keras go on as it does where they are not installed; whoever else may import them."""
        self._sparing = threading.get_ident()
        try:
            yield
        finally:
            self._sparing = None


class _Loader(Loader):
    def __init__(self, loader: Loader, around: list[Around]):
        self.loader = loader
        self.around = around

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self.loader
        with ExitStack() as stack:
            for context in self.around:
                stack.enter_context(context())
            self.loader.exec_module(module)


@contextmanager
def _without_collections() -> Iterator[None]:
    """No cyclic garbage collection, and none later of what there is at the end."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then let through all that is no chatter."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not CHATTER.match(line):
                    os.write(2, line)
