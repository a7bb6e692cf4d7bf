# trick: kills itself
# outcome: crashed
# detail: SIGKILL
import os
import signal


def f(xs):
    os.kill(os.getpid(), signal.SIGKILL)
