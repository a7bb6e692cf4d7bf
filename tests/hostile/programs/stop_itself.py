# trick: stops itself, so that it neither runs nor ends
# outcome: timeout
import os
import signal


def f(xs):
    os.kill(os.getpid(), signal.SIGSTOP)
    return "continued"
