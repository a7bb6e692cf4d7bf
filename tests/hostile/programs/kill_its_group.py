# trick: sends a signal to the group of processes that it was started in
# outcome: forbidden action
# detail: kill
import os
import signal


def f(xs):
    os.killpg(0, signal.SIGURG)
    return "escaped"
