# trick: becomes the user with all rights
# outcome: forbidden action
# detail: setuid
import os


def f(xs):
    os.setuid(0)
    return "escaped"
