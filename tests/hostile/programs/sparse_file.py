# trick: makes a file of a terabyte that takes no room
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    try:
        with open("sparse", "wb") as file:
            os.ftruncate(file.fileno(), 1 << 40)
    except OSError:
        return "stopped"
    return "escaped"
