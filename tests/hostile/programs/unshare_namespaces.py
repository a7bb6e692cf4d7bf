# trick: makes itself root of namespaces of its own
# outcome: forbidden action
# detail: unshare
import ctypes


def f(xs):
    ctypes.CDLL(None).unshare(0x10000000 | 0x00020000)  # users, mounts
    return "escaped"
