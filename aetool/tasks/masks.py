"""Where the true defects are: masks beside the pictures, as MVTec lays them out."""

from pathlib import Path, PurePosixPath

import numpy as np

from aetool.errors import ImageError, SourceError
from aetool.images.decode import decode
from aetool.images.samples import to_unit
from aetool.images.source import Source
from aetool.tasks.scores import NORMAL


class Masks:
    """The masks of a source's pictures.

    The mask of test/DEFECT/NAME.png is ground_truth/DEFECT/NAME_mask.png, white on the defect. A
    picture labelled good or normal needs none.

    Args:
        folder: ground_truth/.

    Raises:
        SourceError: it is no folder.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise SourceError(f"no folder of masks: {folder}", "it holds DEFECT/NAME_mask.png")
        self._folder = folder.absolute()  # a worker of a cluster stands in another one

    def load(self, pictures: Source, i: int, size: tuple[int, int]) -> np.ndarray | None:
        """The mask of a picture, bool of `size` (height, width); None where it is not known.

        Raises:
            ImageError: it cannot be read, or is of another size.
        """
        name = PurePosixPath(pictures.name(i))
        places = [self._folder / name.parent, self._folder / name.parent.name]
        for path in (place / f"{name.stem}_mask.png" for place in places):
            if path.exists():
                try:
                    values = to_unit(decode(path).pixels)
                except (ImageError, OSError) as error:
                    why = getattr(error, "message", None) or error.strerror.lower()
                    raise ImageError(f"its mask {path}: {why}") from error
                mask = (values if values.ndim == 2 else values.mean(axis=-1)) > 0.5
                if mask.shape != size:
                    raise ImageError(f"its mask {path} is {mask.shape}, not {size}")
                return mask
        label = pictures.label(i)
        if label >= 0 and pictures.class_names[label] in NORMAL:
            return np.zeros(size, bool)
        return None
