"""The 512 bytes before the HDF5 of every aetool file, checked before the HDF5 library sees it.

The block is ASCII text, so that `head -c 512 FILE` says what the file is:

    aetool HDF5 container
    kind: checkpoint
    format: 1
    length: 1234567
    sha256: 64 hexadecimal digits

and NUL to the end. Length and digest are those of the rest of the file.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py

from aetool.errors import FormatError
from aetool.storage.atomic import blaming, replacing
from aetool.storage.checked import damaged
from aetool.storage.sink import Sink

BLOCK_BYTES = 512
FORMATS = {"checkpoint": 1, "latents": 1}  # kind -> the newest format version written and read

_MAGIC = b"aetool HDF5 container\n"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_WHAT = re.compile(re.escape(_MAGIC) + rb"kind: ([a-z]{1,20})\nformat: ([1-9][0-9]{0,8})\n")
_SIZE = re.compile(rb"length: (0|[1-9][0-9]{0,18})\nsha256: ([0-9a-f]{64})\n\0+")
_A_KIND = {"checkpoint": "a checkpoint", "latents": "latents"}
_MADE_BY = {
    "checkpoint": "checkpoints are written by `aetool train`",
    "latents": "latents are written by `aetool encode`",
    None: "checkpoints are written by `aetool train`, latents by `aetool encode`",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the block says, after its shape was checked.

    Args:
        kind: "checkpoint" or "latents".
        format: version of the format, 1 or more.
        length: bytes after the block.
        sha256: hex digest of those bytes.
    """

    kind: str
    format: int
    length: int
    sha256: str


def write_container(path: Path, kind: str, fill: Callable[[h5py.File], None]) -> None:
    """Write an aetool file whole or not at all.

    Args:
        path: the file, replaced atomically.
        kind: "checkpoint" or "latents".
        fill: called with the empty HDF5 file, writes everything in it.

    Raises:
        OutputError: the file cannot be written.
    """
    with writing(path, kind) as file:
        fill(file)


@contextlib.contextmanager
def writing(path: Path, kind: str) -> Iterator[h5py.File]:
    """`write_container` as a context: yields the empty HDF5 file, seals it when the body ends."""
    with replacing(path) as temporary:
        with blaming(path):
            sink = Sink(temporary)
        try:
            with h5py.File(sink, "w", userblock_size=BLOCK_BYTES) as file:
                yield file
        finally:
            with blaming(path):
                sink.close()
        with blaming(path):
            _seal(temporary, kind)


def open_container(path: Path, kind: str | None, *, name: str | None = None) -> h5py.File:
    """Check a file from its first byte to its last, then open it.

    Args:
        path: an aetool file.
        kind: what it must be, "checkpoint" or "latents", or None for either.
        name: what to call it in messages, where `path` is a copy of something else.

    Returns:
        The HDF5 file, open for reading; the caller closes it.

    Raises:
        FormatError: missing, a folder, empty, foreign, of another kind, newer, truncated or
            damaged. The HDF5 library has then not seen a byte.
    """
    name = name or str(path)
    with _open_regular(path, name, kind) as stream:
        header = _read_header(stream, name, kind)
        _check_length(stream, header, name)
        if _digest_of_rest(stream) != header.sha256:
            raise FormatError(
                f"{name} is damaged: its contents do not match its SHA-256 digest",
                "restore it from a copy, or make it again",
            )
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise damaged(name, "what follows its header is not HDF5") from error


def container_kind(path: Path) -> str | None:
    """The kind a file says it is of, or None for one that does not begin as an aetool file.

    Reads 512 bytes: that the kind is known says nothing about the rest.
    """
    try:
        with open(path, "rb") as stream:
            match = _WHAT.match(stream.read(BLOCK_BYTES))
    except OSError:
        return None
    kind = match[1].decode() if match else None
    return kind if kind in FORMATS else None


def _seal(path: Path, kind: str) -> None:
    with open(path, "r+b") as stream:
        digest = _digest_of_rest(stream)
        length = stream.tell() - BLOCK_BYTES
        block = _MAGIC + (
            f"kind: {kind}\nformat: {FORMATS[kind]}\nlength: {length}\nsha256: {digest}\n"
        ).encode("ascii")
        stream.seek(0)
        stream.write(block.ljust(BLOCK_BYTES, b"\0"))


def _open_regular(path: Path, name: str, kind: str | None) -> BinaryIO:
    wanted = _A_KIND.get(kind, "an aetool file")
    try:
        # Without O_NONBLOCK opening a named pipe would wait for its writer.
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except IsADirectoryError:
        raise FormatError(f"{name} is a folder, not {wanted}", _MADE_BY[kind]) from None
    except FileNotFoundError:
        raise FormatError(f"{name} does not exist", _MADE_BY[kind]) from None
    except OSError as error:
        raise FormatError(f"cannot read {name}: {os.strerror(error.errno).lower()}") from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise FormatError(f"{name} is not a regular file", "give a file on disk")
    return stream


def _read_header(stream: BinaryIO, name: str, kind: str | None) -> Header:
    block = stream.read(BLOCK_BYTES)
    if not block:
        raise FormatError(f"{name} is empty", _MADE_BY[kind])
    if not block.startswith(_MAGIC):
        if _MAGIC.startswith(block):
            raise _truncated(name)
        raise _foreign(block, name, kind)
    if len(block) < BLOCK_BYTES:
        raise _truncated(name)
    what = _WHAT.match(block)
    if not what or what[1].decode() not in FORMATS:
        raise FormatError(f"{name} is damaged: its header makes no sense", "make it again")
    found, version = what[1].decode(), int(what[2])
    if kind is not None and found != kind:
        raise FormatError(f"{name} holds {_A_KIND[found]}, not {_A_KIND[kind]}", _MADE_BY[kind])
    if version > FORMATS[found]:
        raise FormatError(
            f"{name} has {found} format {version}; this aetool reads up to {FORMATS[found]}",
            "upgrade aetool",
        )
    size = _SIZE.fullmatch(block, what.end())
    if not size:
        raise FormatError(f"{name} is damaged: its header makes no sense", "make it again")
    return Header(found, version, int(size[1]), size[2].decode())


def _foreign(block: bytes, name: str, kind: str | None) -> FormatError:
    if block.startswith(_HDF5_SIGNATURE):
        return FormatError(
            f"{name} is a plain HDF5 file without aetool's header",
            "a model saved by Keras does not say how its pictures are prepared; " + _MADE_BY[kind],
        )
    return FormatError(f"{name} is not an aetool file", _MADE_BY[kind])


def _check_length(stream: BinaryIO, header: Header, name: str) -> None:
    length = os.fstat(stream.fileno()).st_size - BLOCK_BYTES
    if length < header.length:
        raise _truncated(name, f": {length:,} of {header.length:,} bytes")
    if length > header.length:
        raise FormatError(
            f"{name} is damaged: {length - header.length:,} bytes follow its end", "make it again"
        )


def _truncated(name: str, measure: str = "") -> FormatError:
    return FormatError(f"{name} is truncated{measure}", "copy it again, or make it again")


def _digest_of_rest(stream: BinaryIO) -> str:
    """SHA-256 of everything after the block, in constant memory; leaves `stream` at the end."""
    stream.seek(BLOCK_BYTES)
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    while count := stream.readinto(buffer):
        digest.update(buffer[:count])
    return digest.hexdigest()
