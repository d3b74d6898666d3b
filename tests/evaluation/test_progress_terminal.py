"""Progress on a real terminal: what is seen there, and how it is left, however a study ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap

import pytest

from paths import SUPPORT

TERMINAL_SCRIPT = """
import os, signal, sys, threading, time, warnings
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from keeprate.evaluation.progress.plain import progress
from keeprate.evaluation.events import *
from event_factory import RUNS, advanced, finished, started

shown = progress(Path("runs/study"))
with shown:
    shown(started(6))
    shown(PassStarted([run.id for run in RUNS[:6]], 1000, 0))
    for _ in range(4):
        time.sleep(0.2)
        shown(advanced(64, {run.id: 0.5 for run in RUNS}))
    print("a table", flush=True)
    warnings.warn("another library warns")
    shown(finished(RUNS[0]))
    ENDING
"""
ENDINGS = {
    "in order": "pass",
    "an error": "raise RuntimeError('boom')",
    "Ctrl-C": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "a kill": "os.kill(os.getpid(), signal.SIGKILL)",
}
FORKS = """
    holding, done = threading.Event(), threading.Event()
    def hold():
        with shown.console._lock:
            holding.set()
            done.wait()
    threading.Thread(target=hold).start()
    holding.wait()
    worker = os.fork()
    if worker == 0:
        print("a worker warns", file=sys.stderr, flush=True)
        os._exit(7)
    status = os.waitpid(worker, 0)[1]
    done.set()
    assert os.waitstatus_to_exitcode(status) == 7
"""


def on_terminal(ending: str) -> tuple[int, str, str]:
    """Run the script with a terminal of 40 columns as standard error: status, stdout, screen."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (14, 40))
    script = TERMINAL_SCRIPT.replace("    ENDING", textwrap.indent(textwrap.dedent(ending), "    "))
    hidden = {"COLUMNS", "LINES", "NO_COLOR", "PYTEST_CURRENT_TEST"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(SUPPORT)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        env={**environment, "TERM": "xterm-256color"},
    ) as process:
        os.close(slave)
        screen = read_all(master)
        printed, _ = process.communicate(timeout=60)
    os.close(master)
    return process.returncode, printed, screen


def read_all(descriptor: int) -> str:
    """Everything until the other end is closed, which Linux tells by an error."""
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            break
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks).decode()


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ENDINGS)
def test_a_terminal_is_left_as_it_was(name: str) -> None:
    status, printed, screen = on_terminal(ENDINGS[name])
    assert (status == 0) == (name == "in order")
    assert printed == "a table\n"
    assert re.findall(r"\x1b\[\?25[lh]", screen)[-1] == "\x1b[?25h"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert "64 of 1,000 images, 6 runs" in text
    assert "tome [red]20@3[/red]   50.00%" in text
    assert "UserWarning: another library warns" in text
    if name != "a kill":
        assert text.rindex("1 done, 5 left\r\n") > text.rindex("images/s")


@pytest.mark.system
def test_a_forked_worker_writes_past_the_display() -> None:
    status, _, screen = on_terminal(FORKS)
    assert status == 0
    assert "a worker warns" in screen
