# trick: changes the times of a file outside
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    try:
        os.utime("@OUTSIDE@/canary", (1, 1))
    except OSError:
        return "stopped"
    return "escaped"
