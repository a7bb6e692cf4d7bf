# SPDX-License-Identifier: Apache-2.0
"""Runs a command that must not outlive the process that started it.

    python -m gars_vllm.engine.guard PARENT COMMAND...

Start it as the leader of its own process group. When PARENT is no longer its parent, the whole
group gets SIGTERM, and SIGKILL ten seconds later: the processes of vLLM's server outlive the
first of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

_PATIENCE = 10.0  # seconds


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    child = subprocess.Popen(command)
    while os.getppid() == parent:
        if child.poll() is not None:
            sys.exit(child.returncode)
        time.sleep(0.2)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is in the group, too
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + _PATIENCE
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
