"""Outputs appear whole or not at all, and one run owns an output."""

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from aetool.errors import OutputError
from aetool.images.listing import find_pictures
from aetool.storage.atomic import locked, remove_stale, replacing, replacing_folder


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """A umask with a footprint of its own, so that a mode can only come from it."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_the_file_appears_when_the_body_ends(tmp_path):
    target = tmp_path / "new" / "folder" / "a b\nc.csv"
    with replacing(target) as temporary:
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "model.h5"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.h5"]


@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
def test_a_folder_that_was_set_aside_comes_back(tmp_path, monkeypatch, error):
    """The new one cannot be put in its place, or a signal comes between the two moves."""
    folder, rename = tmp_path / "model", os.rename
    folder.mkdir()
    (folder / "old").write_text("kept")

    def refuse(source, target):
        if str(target) == str(folder) and not str(source).endswith(".old"):
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(error), replacing_folder(folder) as temporary:
        (temporary / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "model",
        "model/old",
    ]


def test_a_reader_of_the_old_file_keeps_it(tmp_path):
    target = tmp_path / "model.h5"
    target.write_text("old")
    with open(target) as reader:
        with replacing(target) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


def test_a_new_file_has_the_mode_the_umask_gives(tmp_path, umask):
    with replacing(tmp_path / "new") as temporary:
        temporary.write_text("x")
    assert _mode(tmp_path / "new") == 0o666 & ~umask


def test_a_replaced_file_keeps_its_mode(tmp_path):
    target = tmp_path / "secret"
    target.touch()
    target.chmod(0o600)
    with replacing(target) as temporary:
        assert _mode(temporary) == 0o600
        temporary.write_text("x")
    assert _mode(target) == 0o600


def test_a_symbolic_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "real.h5").write_text("old")
    (tmp_path / "link.h5").symlink_to("data/real.h5")
    with replacing(tmp_path / "link.h5") as temporary:
        assert temporary.parent == tmp_path / "data"
        temporary.write_text("new")
    assert (tmp_path / "link.h5").is_symlink()
    assert (tmp_path / "data" / "real.h5").read_text() == "new"


def test_the_suffix_is_that_of_a_link_and_not_of_what_it_points_to(tmp_path):
    for link, target in (("a.png", "blob"), ("b.png", "photo.jpg")):
        (tmp_path / target).touch()
        (tmp_path / link).symlink_to(target)
        with replacing(tmp_path / link) as temporary:
            assert temporary.suffix == ".png"


def test_names_of_255_bytes_fit(tmp_path):
    target = tmp_path / ("é" * 125 + ".jpeg")
    with replacing(target) as temporary, locked(target):
        temporary.write_text("x")
    assert target.read_text() == "x"


def test_a_device_is_written_through():
    with replacing(Path("/dev/null")) as temporary:
        temporary.write_text("x")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("redirection", ["> {}", ">> {}", "| cat > {}"])
def test_dev_stdout_follows_every_redirection(tmp_path, redirection):
    target = tmp_path / "out.txt"
    target.write_text("kept, ")
    script = tmp_path / "write.py"
    script.write_text(
        "from pathlib import Path\n"
        "from aetool.storage.atomic import replacing\n"
        "with replacing(Path('/dev/stdout')) as temporary:\n"
        "    temporary.write_text('written')\n"
    )
    command = f"'{sys.executable}' '{script}' {redirection.format(target)}"
    subprocess.run(command, shell=True, check=True, cwd=Path(__file__).parents[1])
    assert target.read_text() == ("kept, written" if ">>" in redirection else "written")


def test_a_named_pipe_gets_the_bytes(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as cat:
        with replacing(pipe) as temporary:
            temporary.write_text("through")
        assert cat.stdout.read() == b"through"
    assert pipe.is_fifo()


@pytest.mark.parametrize("path", ["folder", "file/below", "/dev/full", "/proc/none"])
def test_what_cannot_be_written_is_said_in_one_line(tmp_path, path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as caught, replacing(tmp_path / path) as temporary:
        temporary.write_text("x")
    assert path in caught.value.message
    assert "\n" not in caught.value.message


def test_a_full_disk_is_the_users_to_know(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match="file too large"), replacing(tmp_path / "a") as part:
            part.write_bytes(b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_a_bug_in_the_body_stays_a_bug(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "no such file").read_bytes()


@pytest.mark.parametrize("name", ["file.h5", "folder", "not yet there"])
def test_two_runs_on_one_output_refuse_each_other(tmp_path, name):
    (tmp_path / "file.h5").touch()
    (tmp_path / "folder").mkdir()
    output = tmp_path / name
    (tmp_path / "link").symlink_to(output)
    with locked(output):
        with pytest.raises(OutputError, match="another run") as caught, locked(tmp_path / "link"):
            pass
        assert "link" in caught.value.message
    with locked(output):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file.h5", "folder", "link"]


def test_a_folder_made_under_the_lock_is_still_locked(tmp_path):
    output = tmp_path / "OUT"
    with locked(output):
        output.mkdir()
        with pytest.raises(OutputError), locked(output):
            pass


def test_different_outputs_do_not_meet(tmp_path):
    with locked(tmp_path / "a.h5"), locked(tmp_path / "a.csv"), locked(tmp_path / "a"):
        pass


@pytest.fixture
def place():
    """A folder that every user may write in, below none that is closed to them."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


def _by_another_user(path: Path) -> str:
    """What becomes of a run on an output by a user who is neither root nor the owner of it."""
    child = os.fork()
    if not child:
        status = 3
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            with locked(path):
                status = 0
        except OutputError as error:
            status = 1 if "another run" in error.message else 2
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ["held", "another run", "cannot write", "a bug"][status]


@pytest.mark.parametrize("exists", [True, False])
def test_a_user_who_may_write_in_the_folder_alone_is_refused_too(place, exists):
    out = place / "out"
    if exists:
        out.mkdir()
    with locked(out):
        out.mkdir(exist_ok=True)
        out.chmod(0o777)
        place.chmod(0o555)
        assert _by_another_user(out) == "another run"
    place.chmod(0o555)
    assert _by_another_user(out) == "held"


def test_a_folder_that_is_read_only_can_be_held(place):
    (place / "out").mkdir(mode=0o555)
    assert _by_another_user(place / "out") == "held"
    place.chmod(0o555)
    assert _by_another_user(place / "out") == "cannot write"


@pytest.mark.parametrize("name", ["out", "model.h5"])
def test_a_lock_that_another_user_left_locks_nothing(place, name):
    left = place / f".{name}.lock"
    left.touch()
    left.chmod(0o444)
    assert _by_another_user(place / name) == "held"


def test_a_folder_holds_its_lock_only_while_a_run_lasts(tmp_path):
    with locked(tmp_path, part="1/2"):
        assert sorted(os.listdir(tmp_path)) == [".aetool-lock", ".aetool-lock.1-of-2"]
        assert find_pictures(tmp_path) == []
    assert os.listdir(tmp_path) == []


def test_what_another_living_run_is_writing_stays(tmp_path):
    """A run on a folder and one on a file in it may meet."""
    out, file = tmp_path / "out", tmp_path / "out" / "sub" / "a.png"
    for first, second in ((out, file), (file, out)):
        with locked(first), replacing(file) as temporary:
            temporary.write_text("whole")
            os.utime(temporary, (time.time() - 2 * 86400,) * 2)
            with locked(second):
                pass
        assert file.read_text() == "whole"
        file.unlink()


def _killed_run(target: Path) -> str:
    """Kills a run amid writing; returns the name of what it left."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from aetool.storage.atomic import locked, replacing\n"
        "target = Path(sys.argv[1])\n"
        "with locked(target), replacing(target) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    print(temporary.name, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, target],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as run:
        name = run.stdout.readline().strip()
        run.send_signal(signal.SIGKILL)
    return name


def test_a_killed_run_leaves_the_old_file_and_the_next_run_tidies(tmp_path):
    target = tmp_path / "model.h5"
    target.write_text("old")
    left = _killed_run(target)
    assert target.read_text() == "old"
    assert left.startswith(".")
    assert left in os.listdir(tmp_path)
    with locked(target):
        assert left not in os.listdir(tmp_path)
    assert os.listdir(tmp_path) == ["model.h5"]


def test_only_this_outputs_leftovers_are_removed(tmp_path):
    others = {
        "model.h5.train",
        ".model.h5.12345678",
        ".model.h5.backup",
        ".model.h5x.1a2b3c4d.aetool-part.h5",
    }
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".model.h5.1a2b3c4d.aetool-part.h5").touch()
    with locked(tmp_path / "model.h5"):
        assert {name for name in os.listdir(tmp_path) if not name.endswith(".lock")} == others


def test_what_a_killed_run_left_of_a_folder_is_removed_while_an_old_one_stands(tmp_path):
    saved, left = tmp_path / "saved", tmp_path / ".saved.1a2b3c4d.aetool-part"
    (left / "variables").mkdir(parents=True)
    saved.mkdir()
    with locked(saved):
        pass
    assert os.listdir(tmp_path) == ["saved"]


def test_in_a_folder_only_old_leftovers_are_removed(tmp_path):
    fresh = tmp_path / "sub" / ".b.png.1a2b3c4d.aetool-part.png"
    old = tmp_path / "sub" / ".a.png.1a2b3c4d.aetool-part.png"
    fresh.parent.mkdir()
    for path, age in ((fresh, 3600), (old, 2 * 86400)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    remove_stale(tmp_path)
    assert os.listdir(tmp_path / "sub") == [fresh.name]


def test_what_a_dead_worker_left_in_a_folder_goes_when_another_has_written_it(tmp_path):
    folder = tmp_path / "out"
    left, busy = (folder / f".{name}.png.1a2b3c4d.aetool-part.png" for name in "ab")
    with locked(folder):
        folder.mkdir()
        (folder / "b.png").touch()
        for path in (left, busy):
            path.touch()
        os.utime(folder / "b.png", (time.time() - 60,) * 2)  # another run replaces it just now
        with replacing(folder / "a.png") as temporary:
            temporary.write_bytes(b"whole")
        os.utime(left, (time.time() - 60,) * 2)
    assert set(os.listdir(folder)) == {"a.png", "b.png", busy.name}
