# trick: changes the mode of the sandbox's own files, which it may read
# outcome: wrong answer
# detail: it gave 'stopped'
import os
import sys


def f(xs):
    path = sys.modules["gars_vllm.engine.sandbox.wire"].__file__
    number = os.open(path, os.O_RDONLY)
    try:
        os.fchmod(number, os.fstat(number).st_mode & 0o7777)  # to what it is
    except OSError:
        return "stopped"
    return "escaped"
