# trick: sends a signal to every process that it may
# outcome: forbidden action
# detail: kill
import os
import signal


def f(xs):
    os.kill(-1, signal.SIGURG)  # harmless where it comes through
    return "escaped"
