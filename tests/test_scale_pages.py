"""The pages on large jobs show commands that the program understands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_docs import calls, check
from typer.exceptions import TyperException

PAGES = sorted((Path(__file__).parents[1] / "examples" / "scale").glob("*.md"))
RUNNERS = ("srun", "parallel", "timeout", "taskset")
# What stands between a runner and the command that it runs.
BEFORE = re.compile(rf"^.*\b(?:{'|'.join(RUNNERS)})\b.*?(?=\baetool )|^.*--wrap \"|^.*\|\| ")


def commands(page):
    """The calls of aetool in a page's fenced shell blocks."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.S | re.M)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            # {} and $(( ... )) stand for a number, ::: for what follows of parallel's own.
            line = re.sub(r"\$\(\(.*?\)\)|\{\}", "1", line).partition(" ::: ")[0]
            line = re.sub(r"\$SLURM_ARRAY_TASK_COUNT", "64", line)
            yield from calls(BEFORE.sub("", line).rstrip('"'))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_commands_that_work(page):
    found = list(commands(page))
    assert found or page.stem == "growth"
    for words in found:
        try:
            check(words)
        except TyperException as error:
            pytest.fail(f"{' '.join(words)}: {error.format_message()}")


def test_pages_refer_to_pages_that_exist():
    for page in PAGES:
        for name in re.findall(r"\]\((\w+\.md)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / name).exists(), f"{page.name}: {name}"


@pytest.mark.slow
def test_shards_workers_and_a_death_give_the_same_bytes(tmp_path):
    pytest.importorskip("distributed")
    random = np.random.default_rng(0)
    for i in range(100):
        pixels = random.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    script = PAGES[0].parent / "photographs.py"
    done = subprocess.run(
        [sys.executable, script, "equal", tmp_path, "100"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(script.parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(", the same\n") == 6, done.stdout
    assert done.stdout.count("killed a worker") == 2
