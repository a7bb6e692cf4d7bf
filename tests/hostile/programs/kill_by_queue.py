# trick: sends the process that wants the verdict a signal with a value
# outcome: forbidden action
# detail: rt_sigqueueinfo
import ctypes
import signal


def f(xs):
    ctypes.CDLL(None).sigqueue(int("@PID@"), int(signal.SIGUSR1), ctypes.c_void_p(0))
    return "escaped"
