# trick: switches off what makes addresses hard to guess
# outcome: forbidden action
# detail: personality
import ctypes


def f(xs):
    ctypes.CDLL(None).personality(0x0040000)
    return "escaped"
