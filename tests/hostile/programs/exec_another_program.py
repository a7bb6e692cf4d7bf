# trick: becomes another program, which ends well
# outcome: forbidden action
# detail: execve
import os


def f(xs):
    os.execv("/bin/true", ["true"])
