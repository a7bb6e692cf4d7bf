# trick: ends itself by the signals that the sandbox ends programs with
# outcome: timeout or crashed or forbidden action
import os
import signal


def f(xs):
    os.kill(os.getpid(), signal.SIGXCPU)
