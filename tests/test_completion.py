"""Completion as it is installed, in a real shell on a terminal."""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 300.0  # a terminal is slow on a machine that is busy
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\(B|\x0f")


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, words: list[str], env: dict[str, str]):
        self._program = subprocess.Popen(
            ["script", "-qec", " ".join(words), "/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            bufsize=0,
        )
        self._shown = ""

    def type(self, keys: str) -> None:
        self._program.stdin.write(keys.encode())

    def expect(self, text: str) -> None:
        """Wait until it shows a text, after what was waited for before."""
        end = time.monotonic() + SECONDS
        while text not in self._shown:
            ready, _, _ = select.select([self._program.stdout], [], [], end - time.monotonic())
            data = os.read(self._program.stdout.fileno(), 65536) if ready else b""
            assert data, f"no {text!r} in {self._shown!r}"
            self._shown = COLOURS.sub("", self._shown + data.decode("utf-8", "replace"))
        self._shown = self._shown.partition(text)[2]

    def close(self) -> None:
        self._program.kill()
        self._program.communicate()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_on_the_first_tab(shell, tmp_path):
    if not shutil.which(shell) or not shutil.which("script"):
        pytest.skip(f"{shell} or script is not installed")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "aetool").write_text(f'#!/bin/sh\nexec {sys.executable} -m aetool "$@"\n')
    (tools / "aetool").chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    env = {"HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT), "TERM": "xterm",
           "LANG": "C.UTF-8"}  # fmt: skip
    words = [shell, "-c", "aetool --install-completion; true"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert f"{shell} completion installed" in done.stdout, done.stderr

    terminal = Terminal([shell, "-i"], env)
    try:
        terminal.type("echo begin-$HOME\n")
        terminal.expect(f"begin-{tmp_path}")
        for typed, completed in (
            ("aetool colo", "colorize"),
            ("aetool train a --recipe mnist-v", "mnist-vae"),
            ("aetool cluster l.h5 --see", "--seed"),
        ):
            terminal.type(typed + "\t")
            terminal.expect(completed)
            terminal.type("\x15")  # the line is cleared
    finally:
        terminal.close()
