# trick: opens a handle of the process that wants the verdict
# outcome: forbidden action
# detail: pidfd_open
import os
import signal


def f(xs):
    handle = os.pidfd_open(int("@PID@"))
    signal.pidfd_send_signal(handle, signal.SIGUSR1)
    return "escaped"
