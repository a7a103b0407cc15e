"""A folder that is watched: what comes is coloured once it is whole, until a signal."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_colorize import ORANGE, RGB_OUTPUT, write_colorizer

from aetool.images.chroma import join
from aetool.inference.engine import Engine
from aetool.storage.atomic import locked

BLUE = ORANGE[::-1]


@pytest.fixture(scope="module")
def colorizer(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("colorizer") / "orange.h5"
    return write_colorizer(path, bias=np.log(ORANGE / (1 - ORANGE)), output=RGB_OUTPUT)


def picture(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (30, 20), value).save(path)
    return path


def grey(path: Path) -> int:
    """The luma of a coloured picture."""
    return round(float(np.asarray(Image.open(path))[0, 0] @ [0.299, 0.587, 0.114]))


@pytest.fixture
def watch(aetool, colorizer, tmp_path, monkeypatch) -> Callable:
    """watch(events) runs the program; a generator acts between looks, and Ctrl-C is its end."""

    def run(events: Iterator, *options: object):
        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if next(events, "over") == "over":
                raise KeyboardInterrupt

        pauses: list[float] = []
        monkeypatch.setattr("aetool.tasks.colorize_watch.sleep", pause)
        words = ("colorize", tmp_path / "in", tmp_path / "out", "-c", colorizer, "--watch")
        done = aetool(*words, *options)
        assert pauses and all(2 <= seconds < 60 for seconds in pauses)
        return done

    (tmp_path / "in").mkdir()
    return run


def test_pictures_are_coloured_as_they_come(watch, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    whole = picture(tmp_path / "whole.png", 90).read_bytes()

    def events():
        yield  # an empty folder
        picture(folder / "a.png")
        yield
        assert not out.exists()
        yield
        assert grey(out / "a.png") == pytest.approx(100, abs=1)
        for end in (10, 60, None):
            (folder / "sub").mkdir(exist_ok=True)
            (folder / "sub" / "b.png").write_bytes(whole[:end])
            yield
            assert not (out / "sub").exists()
        yield
        assert grey(out / "sub" / "b.png") == pytest.approx(90, abs=1)

    done = watch(events())
    assert done.status == 130
    first, *rounds, summary = done.stderr.splitlines()
    assert first == f"watching {folder}"
    assert rounds == ["1 picture coloured", "1 picture coloured"]
    assert summary.startswith("2 pictures coloured in ")
    assert done.stdout == b""


def test_a_picture_that_fails_is_named_once_and_tried_when_it_changes(watch, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"

    def events():
        (folder / "a.png").write_text("no picture")
        (folder / "b.png").write_text("nor this")
        for _ in range(4):
            yield
        picture(folder / "a.png")
        yield
        yield
        assert (out / "a.png").exists()

    done = watch(events(), "--json", "-q")
    assert done.status == 130
    # Each as it turns out, by whichever thread reads it.
    told = sorted(done.stderr.splitlines())
    assert told == [f"aetool: {name}.png: not an image" for name in "ab"]
    result = done.json
    assert (result["read"], result["written"], result["skipped"]) == (1, 1, 0)
    assert result["failed"] == [{"path": "b.png", "reason": "not an image"}]


def test_a_picture_too_large_for_the_memory_does_not_end_the_watch(watch, tmp_path, monkeypatch):
    def join_small(grey, *arguments, **options):
        if grey[0, 0] == 7:
            raise MemoryError
        return join(grey, *arguments, **options)

    monkeypatch.setattr("aetool.tasks.colorize.join", join_small)

    def events():
        picture(tmp_path / "in" / "large.png", 7)
        picture(tmp_path / "in" / "small.png")
        yield from range(3)

    result = watch(events(), "--json").json
    assert result["written"] == 1
    assert result["failed"] == [{"path": "large.png", "reason": "too large for the memory"}]


def test_what_is_done_is_skipped_and_what_changes_is_done_again(watch, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name, value in (("old.png", 50), ("new.png", 60)):
        os.utime(picture(folder / name), (1.5e9, 1.5e9))
        picture(out / name, value)

    def events():
        yield
        yield
        assert grey_level(out / "old.png") == 50
        picture(folder / "old.png", 110)
        os.utime(folder / "old.png", (1.4e9, 1.4e9))  # older than its result: yet another picture
        yield
        yield
        assert grey(out / "old.png") == pytest.approx(110, abs=1)

    def grey_level(path: Path) -> int:
        return int(np.asarray(Image.open(path)).ravel()[0])

    result = watch(events(), "--json").json
    assert (result["read"], result["skipped"], result["failed"]) == (1, 2, [])
    assert grey_level(out / "new.png") == 60


def test_what_is_replaced_while_it_is_coloured_is_newer_than_its_result(
    watch, tmp_path, monkeypatch
):
    """So a later run does it again, if none watches when it has come to rest."""
    given, out = tmp_path / "in" / "a.png", tmp_path / "out" / "a.png"

    def replace_and_join(*arguments, **options):
        picture(given, 200)
        time.sleep(0.02)  # longer than the steps of the file system's clock
        return join(*arguments, **options)

    monkeypatch.setattr("aetool.tasks.colorize.join", replace_and_join)

    def events():
        os.utime(picture(given), (1.5e9, 1.5e9))
        yield
        yield

    watch(events())
    assert 1.5e9 < out.stat().st_mtime < given.stat().st_mtime


def test_one_network_serves_the_whole_watch(watch, tmp_path, monkeypatch):
    made = []
    original = Engine.__init__

    def counted(self, *arguments, **settings):
        made.append(self)
        original(self, *arguments, **settings)

    monkeypatch.setattr(Engine, "__init__", counted)

    def events():
        for name in ("a.png", "b.png", "c.png"):
            picture(tmp_path / "in" / name)
            yield
            yield
            yield

    assert watch(events()).stderr.count("1 picture coloured") == 3
    assert len(made) == 1


def test_what_comes_after_a_new_model_is_coloured_by_it(watch, colorizer, tmp_path):
    blue = write_colorizer(tmp_path / "blue.h5", bias=np.log(BLUE / (1 - BLUE)), output=RGB_OUTPUT)
    before, new = colorizer.read_bytes(), blue.read_bytes()

    def events():
        picture(tmp_path / "in" / "a.png")
        yield
        yield
        yield
        os.utime(blue, (1.1e9, 1.1e9))
        blue.replace(colorizer)
        picture(tmp_path / "in" / "b.png")
        yield
        yield

    try:
        watch(events())
        assert colorizer.read_bytes() == new
    finally:
        colorizer.write_bytes(before)
    for name, warm in (("a.png", True), ("b.png", False)):
        red, _, last = np.asarray(Image.open(tmp_path / "out" / name))[0, 0]
        assert (red > last) == warm


def test_a_folder_that_vanishes_is_waited_for(watch, tmp_path):
    folder = tmp_path / "in"

    def events():
        yield
        shutil.rmtree(folder)
        yield
        yield
        picture(folder / "a.png")
        yield
        yield

    done = watch(events())
    assert done.stderr.count("waiting for it") == 1
    assert (tmp_path / "out" / "a.png").exists()


def test_the_results_may_lie_in_the_folder_and_are_held(watch, colorizer, aetool, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    picture(folder / "a.png")
    out.symlink_to(folder / "coloured")
    (folder / "coloured").mkdir()

    def events():
        for _ in range(5):
            yield
        refused = aetool("colorize", folder, out, "-c", colorizer)
        assert refused.status == 1 and "another run" in refused.stderr

    assert watch(events(), "--json").json["read"] == 1
    with locked(out):
        refused = aetool("colorize", folder, out, "-c", colorizer, "--watch")
    assert refused.status == 1 and "another run" in refused.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["{in}", "-", "--watch"], "folder for OUT"),
        (["{in}", "--watch"], "folder for OUT"),
        (["{in}/a.png", "{out}", "--watch"], "none"),
        (["sklearn:digits", "{out}", "--watch"], "none"),
        (["{in}", "{out}.png", "--watch"], "one picture"),
        (["{in}", "{in}", "--watch"], "output folder"),
        (["{in}", "{out}", "--watch", "--interval", "0"], "--interval"),
        (["{in}", "{out}", "--watch", "--interval", "nan"], "--interval"),
        (["{in}", "{out}", "--watch", "--saturation", "11"], "--saturation"),
        (["{in}", "{out}", "--watch", "--evaluate"], "--evaluate"),
        (["{in}", "{out}", "--watch", "--shard", "1/2"], "--shard"),
    ],
)
def test_what_cannot_be_watched(aetool, colorizer, tmp_path, words, named):
    picture(tmp_path / "in" / "a.png")
    places = {"in": str(tmp_path / "in"), "out": str(tmp_path / "out")}
    done = aetool("colorize", *(word.format(**places) for word in words), "-c", colorizer)
    assert done.status in (1, 2) and named in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_signal_ends_it_with_one_summary(colorizer, tmp_path):
    """The real program, from an empty folder to SIGTERM."""
    folder, out = tmp_path / "写真", tmp_path / "out"
    folder.mkdir()
    words = [sys.executable, "-m", "aetool", "colorize", folder, out, "-c", colorizer, "--watch",
             "--interval", "0.2", "--json"]  # fmt: skip
    quiet = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    program = subprocess.Popen(words, env=quiet, encoding="utf-8", **pipes)
    try:
        assert program.stderr.readline() == f"watching {folder}\n"
        picture(folder / "ä.png")
        assert program.stderr.readline() == "1 picture coloured\n"
        started = time.monotonic()
        program.send_signal(signal.SIGTERM)
        stdout, stderr = program.communicate(timeout=60)
    finally:
        program.kill()
    assert (program.returncode, stderr) == (143, "")
    assert time.monotonic() - started < 30
    assert json.loads(stdout)["written"] == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["ä.png", "ä.png"]
