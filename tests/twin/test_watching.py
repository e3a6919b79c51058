"""A command that reads in a fork: what crashes there is told, and signals, exit statuses and ends go both ways."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="this system cannot wait for signals")


def command(body: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that is watched and then does `body`."""
    code = f"import os, signal, sys, time; from twin import watching; watching.apart(sys.argv[1:])\n{body}"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("number", "words"), [(signal.SIGSEGV, "crashed (SIGSEGV)"), (signal.SIGKILL, "ran out of memory")])
def test_a_crash_is_told_with_the_file(tmp_path: Path, number: int, words: str) -> None:
    """The shell alone said `Segmentation fault`, or nothing."""
    source = tmp_path / "tower.glb"
    source.write_bytes(b"x")
    process = command(f"os.kill(os.getpid(), {int(number)})", "--home", str(tmp_path), "ingest", str(source), "--layer", "a")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert said.startswith("Error: tower.glb: ")
    assert words in said
    assert "shows what it showed before" in said
    process = command(f"os.kill(os.getpid(), {int(number)})", "ingest", str(source), "--json")
    assert words in json.loads(process.communicate(timeout=60)[0])["error"]["message"]


def test_an_ordinary_end_is_the_commands() -> None:
    process = command("print('read'); sys.exit(2)", "ingest", "a.glb")
    assert process.communicate(timeout=60) == ("read\n", "")
    assert process.returncode == 2


def test_other_commands_are_not_watched() -> None:
    process = command("print(os.getppid())", "layers")
    assert int(process.communicate(timeout=60)[0]) == os.getpid()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_once(number: int) -> None:
    """`body` counts them; it ends as it likes, and so does who watches."""
    body = f"""
heard = []
signal.signal({int(number)}, lambda n, f: heard.append(n))
print('ready', flush=True)
end = time.monotonic() + 3
while time.monotonic() < end and not heard: time.sleep(0.05)
time.sleep(1)
print(len(heard), flush=True)
"""
    process = command(body, "ingest")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=60)[0] == "1\n"
    assert process.returncode == 0


def test_who_is_killed_takes_the_reader_along() -> None:
    process = command("print(os.getpid(), flush=True); time.sleep(60)", "ingest")
    assert process.stdout is not None
    reader = int(process.stdout.readline())
    process.kill()
    process.wait(timeout=60)
    for _ in range(100):
        try:
            state = Path(f"/proc/{reader}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the reader lives on")


def test_a_fork_that_somebody_ends_ends_the_command_by_the_same_signal() -> None:
    process = command("signal.signal(signal.SIGTERM, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGTERM)", "ingest")
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGTERM
