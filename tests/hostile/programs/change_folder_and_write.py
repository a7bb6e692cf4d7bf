# trick: goes to the folder outside and writes where it is
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    try:
        os.chdir("@OUTSIDE@")
        open("new", "w")
    except OSError:
        return "stopped"
    return "escaped"
