"""A process ends when the one that started it was killed."""

from __future__ import annotations

import subprocess
import sys

from corral_operator.lifeline import Lifeline
from up_process import alive
from waiting import eventually_sync

STARTS_ONE_AND_IS_KILLED = """
import os, signal, subprocess
from corral_operator.lifeline import Lifeline
child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, start_new_session=True)
lifeline = Lifeline(child.pid)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_death_of_the_one_ends_the_other() -> None:
    done = subprocess.run([sys.executable, "-c", STARTS_ONE_AND_IS_KILLED], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    eventually_sync(lambda: not alive(int(done.stdout)))


def test_a_lifeline_that_is_released_ends_nobody_and_leaves_nothing() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        lifeline = Lifeline(child.pid)
        assert lifeline._shell is not None
        shell = lifeline._shell.pid
        assert alive(shell)
        lifeline.release()
        lifeline.release()
        assert not alive(shell)
        assert alive(child.pid)
        child.kill()
