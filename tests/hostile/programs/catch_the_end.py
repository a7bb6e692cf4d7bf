# trick: makes a forbidden call and catches all exceptions, to go on as if nothing had been
# outcome: forbidden action
# detail: execve
import os


def f(xs):
    try:
        os.execv("/bin/true", ["true"])
    except BaseException:
        return "stopped"
