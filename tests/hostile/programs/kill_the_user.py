# trick: ends the process that wants the verdict, whose number it knows
# outcome: forbidden action
# detail: kill
import os
import signal


def f(xs):
    os.kill(int("@PID@"), signal.SIGUSR1)
    return "escaped"
