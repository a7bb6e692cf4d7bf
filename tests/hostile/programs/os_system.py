# trick: runs a command line
# outcome: forbidden action
# detail: fork
import os


def f(xs):
    return "escaped" if os.system("true") == 0 else "stopped"
