# trick: ends the process that wants the verdict by a call for threads
# outcome: forbidden action
# detail: kill
import ctypes
import signal


def f(xs):
    ctypes.CDLL(None).tgkill(int("@PID@"), int("@PID@"), int(signal.SIGUSR1))
    return "escaped"
