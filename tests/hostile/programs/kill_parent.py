# trick: kills the process that started it
# outcome: forbidden action
# detail: kill
import os
import signal


def f(xs):
    os.kill(os.getppid(), signal.SIGKILL)
    return "escaped"
