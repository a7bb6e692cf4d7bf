# trick: asks for a filter of its own, in which it would answer its own calls
# outcome: wrong answer or forbidden action
import ctypes


def f(xs):
    libc = ctypes.CDLL(None)
    if libc.prctl(22, 2, ctypes.create_string_buffer(16), 0, 0) == 0:  # PR_SET_SECCOMP
        return "escaped"
    return "stopped"
