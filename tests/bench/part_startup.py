"""One photograph coloured, the whole process, against `import tensorflow`; and what needs none."""

import subprocess
import sys
import tempfile
from pathlib import Path

from timing import durations, table

PHOTO = next(Path(__file__).parents[2].joinpath("examples", "photos").glob("*.jpg"))


def run(*arguments: object):
    return lambda: subprocess.run(
        [sys.executable, *map(str, arguments)], check=True, capture_output=True
    )


def measure() -> str:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"  # one picture into one file would always be done
        tensorflow = "import tensorflow"
        seconds = durations(
            {
                "import tensorflow": run("-c", tensorflow),
                "colorize one photograph": run(
                    "-m", "aetool", "colorize", PHOTO, out, "--overwrite", "-q"
                ),
                "colorize, nothing to do": run("-m", "aetool", "colorize", PHOTO, out, "-q"),
                "--help": run("-m", "aetool", "--help"),
            },
            rounds=7,
        )
    base = seconds["import tensorflow"]
    rows = [[name, value, value / base] for name, value in seconds.items()]
    return table(["", "seconds", "of `import tensorflow`"], rows)
