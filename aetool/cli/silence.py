"""Keep TensorFlow's start-up chatter off standard error, whoever imports it first.

TF_CPP_MIN_LOG_LEVEL silences most of it. A few lines (the oneDNN banner, missing CUDA drivers) are
written to file descriptor 2 before TensorFlow reads that variable, so its import is watched too.
"""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# Lines of TensorFlow's log: severity, date, "00:00:00.000", thread, file:line] message.
CHATTER = re.compile(rb"[IWE]\d{4} |WARNING: All log messages before absl|To enable the following")


def silence_tensorflow() -> None:
    """Settle how TensorFlow is to run, before it is imported: quietly, and with oneDNN.

    TF_CPP_MIN_LOG_LEVEL and TF_ENABLE_ONEDNN_OPTS stay as the user has set them.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only one whose graphs aetool can freeze
    # TensorFlow takes oneDNN by itself on newer processors alone; its own convolutions are slower.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        # A training of several networks traces each: TensorFlow takes that for a mistake.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        sys.meta_path.insert(0, _TensorFlowFinder())


class _TensorFlowFinder(MetaPathFinder):
    """Finds the top-level `tensorflow` only, once, and loads it with its chatter filtered out."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(Loader):
    def __init__(self, loader: Loader):
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self.loader
        with _without_chatter():
            self.loader.exec_module(module)


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
