"""Peak memory of `aetool encode` on ten times as many pictures: 100,000 of 16 pixels to 10,000."""

import sys
import tempfile
from pathlib import Path

from pictures import write_pictures
from timing import peak_memory, table

FEW, MANY = 10_000, 100_000


def measure() -> str:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = root / "model.h5"
        tiny = write_pictures(root / "tiny", 8, 16, ".png")
        aetool = [sys.executable, "-m", "aetool"]
        peak_memory([*aetool, "train", str(tiny), "--epochs", "0", "-q", "-o", str(model)])
        write_pictures(root / "few", FEW, 16, ".png")
        (root / "many").mkdir()
        for i in range(MANY):
            (root / "many" / f"{i:06d}.png").hardlink_to(root / "few" / f"{i % FEW:06d}.png")
        rows = []
        for folder, count in (("few", FEW), ("many", MANY)):
            latents = str(root / f"{folder}.h5")
            encode = [*aetool, "encode", str(root / folder), "-c", str(model), "-o", latents, "-q"]
            peak, seconds = peak_memory(encode)
            rows.append(
                [
                    count,
                    peak / 2**20,
                    peak / 2**20 / (rows[0][1] if rows else peak / 2**20),
                    count / seconds,
                ]
            )
    return table(["pictures", "peak, MiB", "ratio", "pictures/s"], rows)
