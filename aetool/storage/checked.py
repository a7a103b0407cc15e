"""Reads from HDF5 that trust nothing: a file may be forged behind a right digest.

What is read is found through hard links only, is of the type expected, and claims no more bytes
than the file holds, so that no read allocates more than the file's length. Lists of texts of
variable length are the exception: what they claim is not known before HDF5 has read them.
"""

import math
from collections.abc import Iterable

import h5py
import numpy as np

from aetool.errors import FormatError

_LONGEST_REASON = 200  # characters


def damaged(name: str, why: str) -> FormatError:
    """The error for a file whose digest is right and whose contents are not."""
    if len(why) > _LONGEST_REASON:  # it quotes a name, which may be as long as the file
        half = _LONGEST_REASON // 2
        why = f"{why[:half]} ... {why[-half:]}"
    return FormatError(f"{name} is not a valid aetool file: {why}", "make it again")


def read_group(parent: h5py.Group, path: str) -> h5py.Group:
    """The group at a slash-separated path, through hard links only."""
    node = _walk(parent, path)
    if not isinstance(node, h5py.Group):
        raise damaged(parent.file.filename, f"{path!r} is not a group")
    return node


def check_dataset(parent: h5py.Group, path: str, *, kinds: str = "fiub") -> h5py.Dataset:
    """The data set at a path, once it is known to claim no more than the file holds.

    Data sets are stored plain: no filter, no external or virtual storage. So the bytes a shape
    claims must lie in the file, and reading one allocates no more than the file's length.

    Args:
        parent: the group that holds it.
        path: slash-separated, through hard links only.
        kinds: NumPy dtype kinds allowed; "O" stands for variable-length text and nothing else.

    Raises:
        FormatError: not there, of another type, or larger than the file.
    """
    name = parent.file.filename
    dataset = _walk(parent, path)
    if not isinstance(dataset, h5py.Dataset):
        raise damaged(name, f"{path!r} is not a data set")
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError) as error:  # an HDF5 type that NumPy has not
        raise damaged(name, f"{path!r} has an unknown type") from error
    text = dtype.kind == "O" and h5py.check_string_dtype(dtype) is not None
    if dataset.shape is None or dtype.kind not in kinds or (dtype.kind == "O" and not text):
        raise damaged(name, f"{path!r} has type {dtype}")
    filters = dataset.id.get_create_plist().get_nfilters()
    if dataset.external or dataset.is_virtual or filters:
        raise damaged(name, f"{path!r} is not stored plainly")
    claimed = math.prod(dataset.shape) * dataset.id.get_type().get_size()
    if claimed > min(dataset.id.get_storage_size(), dataset.file.id.get_filesize()):
        raise damaged(name, f"{path!r} claims {claimed:,} bytes, more than it holds")
    return dataset


def read_arrays(parent: h5py.Group, paths: Iterable[str]) -> dict[str, np.ndarray]:
    """Numeric data sets by path, each checked, all of them together no larger than the file."""
    arrays = {}
    left = parent.file.id.get_filesize()
    for path in paths:
        dataset = check_dataset(parent, path)
        left -= dataset.nbytes
        if left < 0:
            raise damaged(parent.file.filename, "its arrays overlap")
        arrays[path] = np.asarray(dataset[()])
    return arrays


def array_paths(group: h5py.Group) -> list[str]:
    """Paths of all data sets below a group, relative to it, in HDF5's order (by name)."""
    found = []

    def visit(path: str | bytes, node: h5py.Dataset | h5py.Group) -> None:
        if isinstance(node, h5py.Dataset):
            found.append(path if isinstance(path, str) else path.decode("utf-8", "surrogateescape"))

    try:
        group.visititems(visit)
    except (KeyError, UnicodeDecodeError) as error:  # the name of no file of ours
        raise damaged(group.file.filename, f"{group.name} holds what cannot be opened") from error
    return found


def read_text(node: h5py.HLObject, name: str) -> str:
    """The text attribute `name`; FormatError where it is missing or no text."""
    texts = read_texts(node, name)
    if len(texts) != 1:
        raise damaged(node.file.filename, f"its attribute {name!r} is not one text")
    return texts[0]


def read_texts(node: h5py.HLObject, name: str) -> list[str]:
    """A text attribute of any length, in order; an empty list of any type counts as no texts."""
    dtype, shape = _check_attribute(node, name)
    if 0 in shape:
        return []
    if h5py.check_string_dtype(dtype) is None:
        raise damaged(node.file.filename, f"its attribute {name!r} is not text")
    try:
        texts = np.ravel(node.attrs[name])
    except MemoryError as error:  # each of them may be the same text, as long as the file
        raise damaged(node.file.filename, f"its attribute {name!r} fits no memory") from error
    return [
        text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text)
        for text in texts
    ]


def read_integers(node: h5py.HLObject, name: str) -> tuple[int, ...]:
    """The attribute `name`, a list of whole numbers."""
    dtype, shape = _check_attribute(node, name)
    if dtype.kind not in "iu" or len(shape) != 1:
        raise damaged(node.file.filename, f"its attribute {name!r} is not a list of whole numbers")
    return tuple(int(value) for value in node.attrs[name])


def _check_attribute(node: h5py.HLObject, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    try:
        attribute = node.attrs.get_id(name) if name in node.attrs else None
    except KeyError as error:  # not even its list of attributes can be opened
        raise damaged(node.file.filename, "its attributes cannot be read") from error
    if attribute is None:
        raise damaged(node.file.filename, f"it has no attribute {name!r}")
    shape = attribute.shape
    if shape is None:
        raise damaged(node.file.filename, f"its attribute {name!r} is empty")
    if math.prod(shape) * attribute.get_type().get_size() > node.file.id.get_filesize():
        raise damaged(node.file.filename, f"its attribute {name!r} claims more than the file holds")
    try:
        return attribute.dtype, shape
    except (TypeError, ValueError) as error:  # an HDF5 type that NumPy has not
        raise damaged(node.file.filename, f"its attribute {name!r} has an unknown type") from error


def _walk(parent: h5py.Group, path: str) -> h5py.HLObject:
    node = parent
    for part in path.encode("utf-8", "surrogateescape").split(b"/"):
        if not isinstance(node, h5py.Group) or not _has_hard_link(node, part):
            raise damaged(parent.file.filename, f"{path!r} is missing")
        try:
            node = node[part]
        except KeyError as error:  # the link is there, the object at its end is not
            raise damaged(parent.file.filename, f"{path!r} cannot be opened") from error
    return node


def _has_hard_link(group: h5py.Group, name: bytes) -> bool:
    links = group.id.links
    return bool(name) and links.exists(name) and links.get_info(name).type == h5py.h5l.TYPE_HARD
