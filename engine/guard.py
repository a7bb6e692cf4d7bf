# SPDX-License-Identifier: Apache-2.0
"""Runs a command that must not outlive the process that wanted it, however that ends.

    python -m gars_vllm.engine.guard PARENT COMMAND...

To be started as the leader of a process group of its own. When PARENT is no longer its parent the
whole group is asked to end, and killed ten seconds later: vLLM's server is a handful of processes
that go on without the first of them.
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is of the group itself
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + _PATIENCE
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
