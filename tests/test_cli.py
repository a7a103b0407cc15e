"""The program's manners: exit statuses, one line an error, quiet pipes, JSON, progress."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import typer

from aetool import __version__
from aetool.cli.output import Allowance, Output, printable, to_json
from aetool.errors import Failure, UsageError

PROGRAM = [sys.executable, "-m", "aetool"]


def start(*arguments: object, **settings: object) -> subprocess.Popen:
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], **settings)


def start_with_command(body: str) -> subprocess.Popen:
    """The program with one more command, `probe`, and run with it."""
    script = f"""
import sys, time
import typer
from aetool.cli import app
from aetool.errors import AetoolError

def probe() -> None:
    {body}

app.app.command("probe")(probe)
sys.argv[1:] = ["probe"]
app.main()
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", script], **pipes)


def test_version(aetool):
    assert aetool("--version").text == f"aetool {__version__}\n"


def test_alone_it_shows_help_and_reports_wrong_usage(aetool):
    done = aetool()
    assert done.status == 2
    assert "Usage: aetool" in done.text


def test_help_fits_80_columns_and_ends_with_an_example(aetool, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    commands = [
        line.split()[1]
        for line in aetool("--help").text.split("Commands")[1].splitlines()
        if line.startswith("│ ") and line[2] != " "
    ]
    assert commands[0] == "train" and commands[-1] == "export"
    for command in commands:
        text = aetool(command, "--help").text
        assert max(map(len, text.splitlines())) <= 80
        assert "\n aetool " in text.partition("Example")[2], command


@pytest.mark.parametrize(
    ("words", "named", "hint"),
    [
        (["colourise"], "colourise", "colorize"),
        (["cluster", "x.h5", "--ouput", "y.csv"], "--ouput", "--output"),
        (["info", "--json=yes"], "--json", "aetool info --help"),
        (["encode"], "SOURCE", "aetool encode --help"),
        (
            ["encode", "x", "-c", "m.h5", "-o", "l.h5", "--precision", "float16"],
            "float16",
            "did you mean bfloat16?",
        ),
        (
            ["encode", "x", "-c", "m.h5", "-o", "l.h5", "--pool", "maen"],
            "maen",
            "did you mean mean?",
        ),
        (
            ["encode", "x", "-c", "m.h5", "-o", "l.h5", "--batch-size", "0"],
            "--batch-size",
            "--help",
        ),
        (["encode", "x", "-c", "m.h5", "-o", "l.h5", "--allow-failures", "x"], "'x'", "--help"),
    ],
)
def test_wrong_usage_names_the_word_and_the_next_step(aetool, words, named, hint):
    done = aetool(*words)
    error, next_step = done.stderr.splitlines()
    assert done.status == 2
    assert not done.stdout
    assert error.startswith("aetool: error: ") and named in error
    assert next_step.startswith("hint: ") and hint in next_step


def completions(shell: str, typed: str, **environment: str) -> list[str]:
    """What a shell is offered for the last word typed, asked as the shell's own script asks."""
    words = typed.split(" ")
    asked = {"_AETOOL_COMPLETE": f"complete_{shell}", **environment}
    if shell == "bash":
        asked |= {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    else:
        asked |= {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    script = (
        "import atexit, sys\n"
        "heavy = lambda: {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "atexit.register(lambda: heavy() and print('heavy', heavy()))\n"
        "from aetool.cli.app import run; run([])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | asked, capture_output=True, text=True
    )
    assert not done.stderr
    if shell == "zsh":
        return re.findall(r'^(?:_arguments .*\(\()?"([^"]+)":?', done.stdout, re.M)
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("aetool co", ["colorize"]),
        ("aetool cluster --see", ["--seed"]),
        ("aetool train a -o m.h5 --model conv", ["conv-ae", "conv-vae"]),
        ("aetool train a -o m.h5 --recipe mnist-v", ["mnist-vae"]),
        ("aetool train a -o m.h5 --task c", ["colorize", "classify"]),
    ],
)
def test_the_shell_completes_commands_options_and_names(shell, typed, offered):
    assert completions(shell, typed) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_the_layers_of_a_model(shell, digits_model):
    typed = f"aetool encode a -c {digits_model} -o l.h5 --layer encoder1"
    assert completions(shell, typed) == ["encoder1_conv", "encoder1_pool"]
    assert completions(shell, "aetool encode a -c none.h5 -o l.h5 --layer e") == []
    assert completions(shell, "aetool encode a --layer e") == []


def test_a_users_error_is_one_line_and_a_hint(aetool, tmp_path):
    done = aetool("info", tmp_path / "nothing.h5")
    error, hint = done.stderr.splitlines()
    assert done.status == 1
    assert error.startswith("aetool: error: ") and "nothing.h5" in error
    assert hint.startswith("hint: ")


def test_debug_shows_the_traceback_of_a_users_error(aetool, tmp_path, monkeypatch):
    monkeypatch.setenv("AETOOL_DEBUG", "1")
    done = aetool("info", tmp_path / "nothing.h5")
    assert done.status == 1
    assert "Traceback" in done.stderr and "aetool: error: " in done.stderr


def test_an_error_stays_one_line_whatever_the_name_holds(aetool):
    done = aetool("info", "two\nlines \x1b[31m.h5")
    assert len(done.stderr.splitlines()) == 2
    assert "two\\nlines \\x1b[31m.h5" in done.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_in_its_status_after_cleaning_up(name):
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip("whoever runs the tests ignores it, as nohup does")
    number = signal.Signals[name]
    program = start_with_command(
        "try: print('ready', flush=True); time.sleep(60)\n    finally: print('cleaned')"
    )
    assert program.stdout.readline() == "ready\n"
    program.send_signal(number)
    stdout, stderr = program.communicate(timeout=20)
    assert program.returncode == 128 + number
    assert stdout == "cleaned\n"
    assert stderr.count("\n") == 1 and stderr.startswith("aetool: error: ")


def test_a_bug_keeps_its_traceback():
    program = start_with_command("raise ValueError('a bug')")
    stderr = program.communicate()[1]
    assert program.returncode == 1
    assert stderr.startswith("Traceback") and stderr.endswith("ValueError: a bug\n")


@pytest.mark.parametrize(
    ("body", "bug"),
    [
        ("raise PermissionError(13, 'Permission denied', '/out')", False),
        ("raise OSError(28, 'No space left on device')", False),
        ("raise OSError(30, 'Read-only file system', '/out')", False),
        ("open('/no/such/file/of/ours')", True),
    ],
)
def test_what_the_system_refuses_is_one_line(body, bug):
    program = start_with_command(body)
    stderr = program.communicate()[1]
    assert program.returncode == 1
    assert ("Traceback" in stderr) == bug
    assert bug or stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_under_standard_output_is_reported():
    with open("/dev/full", "w") as full:
        program = start("info", stdout=full)
        stderr = program.communicate()[1]
    assert program.returncode == 1
    assert stderr == "aetool: error: No space left on device\n"


def test_a_closed_pipe_is_quiet():
    program = start("info")
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait() == 128 + signal.SIGPIPE


def test_a_closed_standard_error_is_no_reason_to_fail():
    done = subprocess.run(
        f"{sys.executable} -m aetool info nothing.h5 2>&-", shell=True, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_tensorflow_imports_without_chatter():
    script = "from aetool.cli.silence import silence_tensorflow as s; s(); import keras; keras.ops"
    quiet = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", script], env=quiet, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_keras_imports_without_what_it_only_wraps():
    script = (
        "import sys, gc; from aetool.cli.silence import silence_tensorflow as s; s(); import keras;"
        "extras = {'sklearn', 'matplotlib', 'pandas'}; assert not extras & set(sys.modules);"
        "import sklearn, matplotlib; keras.ops.ones(1)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_garbage_is_collected_after_the_import_of_keras_but_not_sought_in_it():
    script = (
        "import gc; from aetool.cli.silence import silence_tensorflow as s; s(); import keras;"
        "assert gc.isenabled(); assert gc.get_freeze_count() > 100_000, gc.get_freeze_count()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("set_to", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_unless_the_user_says_otherwise(set_to, expected):
    name = "TF_ENABLE_ONEDNN_OPTS"
    script = (
        "from aetool.cli.silence import silence_tensorflow as s; s();"
        f"import os; print(os.environ[{name!r}])"
    )
    clean = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    if set_to:
        clean["TF_ENABLE_ONEDNN_OPTS"] = set_to
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True)
    assert done.stdout.strip() == expected


def test_a_failed_import_of_tensorflow_is_not_silenced(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'I0000 chatter\\nreal trouble\\n')\nraise ImportError('broken')\n"
    )
    script = "from aetool.cli.silence import silence_tensorflow as s; s(); import tensorflow"
    clean = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    clean["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{Path(__file__).parents[1]}"
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True)
    assert "real trouble" in done.stderr and "ImportError: broken" in done.stderr
    assert "chatter" not in done.stderr.partition("Traceback")[0]


@pytest.mark.parametrize(
    ("text", "failed", "total", "permitted"),
    [
        ("0", 0, 10, True),
        ("0", 1, 10, False),
        ("3", 3, 10, True),
        ("3", 4, 10, False),
        ("2.5%", 1, 40, True),
        ("2.5%", 1, 39, False),
        ("100%", 5, 5, True),
        ("29%", 29, 100, True),
        ("57%", 57, 100, True),
        ("57%", 58, 100, False),
    ],
)
def test_allowed_failures(text, failed, total, permitted):
    assert Allowance.parse(text).permits(failed, total) is permitted


@pytest.mark.parametrize("text", ["", "-1", "1.5", "%", "101%", "-1%", "nan%", "5%5", "three"])
def test_nonsense_is_no_allowance(text):
    with pytest.raises(typer.BadParameter):
        Allowance.parse(text)


@dataclass(frozen=True, slots=True)
class Result:
    """A result with everything JSON has to cope with."""

    read: int = 3
    skipped: int = 0
    failed: tuple[Failure, ...] = ()
    psnr: float = float("nan")
    sizes: np.ndarray = field(default_factory=lambda: np.array([1, 2], dtype=np.int32))
    mean: np.float32 = field(default_factory=lambda: np.float32(0.5))
    output: Path = Path("日本.png")


def test_json_is_one_object_without_nan():
    text = to_json(Result(failed=(Failure("a\udcff.png", "truncated"),)))
    assert json.loads(text) == {
        "read": 3,
        "skipped": 0,
        "failed": [{"path": "a\udcff.png", "reason": "truncated"}],
        "psnr": None,
        "sizes": [1, 2],
        "mean": 0.5,
        "output": "日本.png",
    }
    assert text.isascii() and "\n" not in text


def test_finish_lists_failures_and_exits_1(capsys):
    failed = (Failure("a\nb.png", "truncated"),)
    with pytest.raises(typer.Exit) as exit_:
        Output(quiet=True).finish(Result(failed=failed), summary="3 done")
    assert exit_.value.exit_code == 1
    assert capsys.readouterr() == ("", "aetool: a\\nb.png: truncated\n")


def test_finish_allows_failures(capsys):
    failed = (Failure("a.png", "truncated"),)
    Output().finish(Result(failed=failed), summary="3 done", allow_failures=Allowance.parse("25%"))
    assert capsys.readouterr() == ("", "aetool: a.png: truncated\n3 done\n")


def test_the_commands_own_verdict_outranks_failures():
    with pytest.raises(typer.Exit) as exit_:
        Output(quiet=True).finish(Result(failed=(Failure("a", "b"),)), exit_status=3)
    assert exit_.value.exit_code == 3


def test_standard_output_holds_json_or_data_never_both():
    Output(json=True).check_stdout(Path("table.csv"))
    Output().check_stdout(None)
    for output in (None, Path("-")):
        with pytest.raises(UsageError):
            Output(json=True).check_stdout(output)


def test_talk_goes_to_standard_error_and_quiet_hides_it(capsys):
    for settings in ({}, {"quiet": True}, {"verbose": True}):
        out = Output(**settings)
        out.note("note")
        with out.progress("Working") as progress:
            progress(1, 2)
    assert capsys.readouterr() == ("", "note\nnote\n")


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr("aetool.cli.output.LOG_INTERVAL", 0.0)
    with Output().progress("Encoding") as progress:
        progress(5, 10)
    assert capsys.readouterr() == ("", "Encoding: 5 of 10\n")


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_a_bar(colour):
    script = """
import time
from aetool.cli.output import Output
out = Output()
with out.progress("Encoding") as progress:
    progress(1, 2)
    out.note("in passing")
    time.sleep(0.3)
print("data")
"""
    terminal, end = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "80"} | ({} if colour else {"NO_COLOR": "1"})
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=end, env=env, check=True
    )
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    assert done.stdout == b"data\n"
    assert "Encoding" in shown and "1/2" in shown and "in passing" in shown
    assert ("\x1b[38" in shown or "\x1b[3" in shown.replace("\x1b[?", "")) == colour


def test_printable_keeps_letters_and_escapes_the_rest():
    assert printable("Straße 日本\n\t\x07\udcff") == "Straße 日本\\n\\t\\x07\\udcff"


@pytest.mark.parametrize("command", ["colorize", "reconstruct", "translate"])
def test_a_picture_and_json_do_not_share_standard_output(aetool, tmp_path, command):
    done = aetool(command, tmp_path / "a.png", "-", "-c", tmp_path / "m.h5", "--json")
    assert done.status == 2 and done.stdout == b""
    assert "cannot both go to standard output" in done.stderr and "-o" not in done.stderr
