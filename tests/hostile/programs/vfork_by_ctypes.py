# trick: forks by the C library's vfork
# outcome: forbidden action
# detail: fork
import ctypes


def f(xs):
    if ctypes.CDLL(None).vfork() == 0:
        ctypes.CDLL(None)._exit(0)
    return "escaped"
