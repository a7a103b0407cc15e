"""The colour profile of a JPEG 2000 file (ISO/IEC 15444-1, annex I), which Pillow passes over."""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

_LARGEST = 2**24
_ENUMERATED, _RESTRICTED_ICC, _ANY_ICC = 1, 2, 3


def icc_profile(file: BinaryIO) -> bytes | None:
    """The ICC profile in a file of boxes, JP2 or JPX.

    Args:
        file: of any content; it is left at any place.

    Returns:
        None where its colours are said otherwise, in a bare codestream, for a profile of more than
        16 MiB, and where boxes are damaged: that costs the profile, not the picture.
    """
    end = file.seek(0, os.SEEK_END)
    header = next((place for kind, *place in _boxes(file, 0, end) if kind == b"jp2h"), (0, 0))
    for kind, start, stop in _boxes(file, *header):
        if kind != b"colr" or stop - start < 3:
            continue
        file.seek(start)
        method, _, _ = file.read(3)
        # The first description of a method that a reader knows counts, and no later one.
        if method in (_RESTRICTED_ICC, _ANY_ICC):
            return file.read(stop - start - 3) if stop - start <= _LARGEST else None
        if method == _ENUMERATED:
            return None
    return None


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, and start and end of the content, of the boxes between two places in a file."""
    while start + 8 <= end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if length == 1:  # it is too long for four bytes, and stands in the next eight
            length = int.from_bytes(file.read(8), "big")
            content += 8
        stop = start + length if length else end
        if not content <= stop <= end:
            return
        yield kind, content, stop
        start = stop
