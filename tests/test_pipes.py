"""Pipes between programs: bytes of pictures, lists, latents, and readers that go away."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def shell(tmp_path):
    """shell("find . | aetool ...") runs a line in bash; the status is that of the first to fail."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "aetool"
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m aetool "$@"\n')
    tool.chmod(0o755)
    env = {"PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
           "HOME": str(tmp_path)}  # fmt: skip

    def run(line: str) -> subprocess.CompletedProcess:
        line = f"set -o pipefail; {line}"
        return subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True)

    return run


@pytest.fixture(scope="module")
def picture(photos) -> bytes:
    return (photos / "stripes" / "stripes 3.png").read_bytes()


def test_a_picture_on_standard_input_is_encoded_as_its_file_is(
    aetool, digits_model, photos, picture
):
    words = ("-c", digits_model, "-q")
    piped = aetool("encode", "-", *words, "-o", "-", stdin=picture)
    assert piped.status == 0, piped.stderr
    named = aetool("encode", photos / "stripes" / "stripes 3.png", *words, "-o", "-")
    tables = [aetool("export", "-", "-", stdin=done.stdout).text for done in (piped, named)]
    rows = [table.splitlines()[1].split(",") for table in tables]
    numbers = [
        i for i, name in enumerate(tables[0].splitlines()[0].split(",")) if name[-1:].isdigit()
    ]
    assert rows[0][0] == "stdin" and len(numbers) == 8
    assert [rows[0][i] for i in numbers] == [rows[1][i] for i in numbers]


def test_a_picture_on_standard_input_is_scored_as_its_file_is(
    aetool, digits_model, photos, picture
):
    words = ("-c", digits_model, "-q")
    piped = aetool("anomaly", "-", *words, stdin=picture)
    named = aetool("anomaly", photos / "stripes" / "stripes 3.png", *words)
    assert piped.status == named.status == 0
    rows = [done.text.splitlines()[1].split(",") for done in (piped, named)]
    assert rows[0][0] == "stdin" and rows[0][1:] == rows[1][1:]


def test_what_find_finds_is_read_whatever_its_name(shell, photos, tmp_path):
    (tmp_path / "two\nlines.png").write_bytes((photos / "stripes" / "stripes 1.png").read_bytes())
    line = f"find {shlex.quote(str(photos))} two* -name '*.png' -print0"
    done = shell(f"{line} | aetool encode @- --pixels --size 4 -o - -q | aetool export - - -q")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"stripes ") == 6 and b"two\nlines.png" in done.stdout


def test_finding_nothing_new_is_nothing_to_do(aetool, digits_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ("colorize", "@-", "color/"),
        ("reconstruct", "@-", "rebuilt/", "-c", digits_model),
        ("anomaly", "@-", "-c", digits_model, "-o", "scores.csv", "--append"),
    ):
        done = aetool(*words, "--json", stdin=b"")
        assert (done.status, done.json["read"], done.json["failed"]) == (0, 0, []), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    for words in (
        ("colorize", "@-", "color/", "--evaluate"),
        ("colorize", "@-", "color.png"),
        ("encode", "@-", "--pixels", "-o", "latents.h5"),
    ):
        assert aetool(*words, stdin=b"").status
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_latents_flow_and_a_reader_that_has_enough_is_no_error(shell):
    """Of 1,797 rows, more than a pipe holds, `head` takes three."""
    latents = "aetool encode sklearn:digits --pixels -o - -q"
    done = shell(f"{latents} | aetool pca - -q | head -3; echo ${{PIPESTATUS[@]}}")
    *rows, statuses = done.stdout.decode().splitlines()
    assert rows[0].startswith("path,label,pc1") and len(rows) == 3
    assert statuses in ("0 141 0", "0 0 0")
    assert done.stderr == b""


@pytest.mark.parametrize(
    "line",
    [
        "aetool encode sklearn:digits --pixels -o - -q",
        "aetool export LATENTS - ",
        "aetool --help",
        "aetool train --help",
        "aetool reconstruct PICTURE - -c MODEL -q",
    ],
)
def test_a_closed_pipe_is_quiet(shell, line, digits_model, digits_latents, photos):
    names = {"LATENTS": digits_latents, "MODEL": digits_model,
             "PICTURE": photos / "sky" / "sky 0.jpg"}  # fmt: skip
    for name, path in names.items():
        line = line.replace(name, shlex.quote(str(path)))
    done = shell(f"{{ {line}; echo $? >&2; }} | exec 0<&-")
    assert done.stderr == b"141\n"
