# trick: opens the folder outside as such, and writes relative to it
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    for flags in (os.O_PATH | os.O_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY):
        try:
            folder = os.open("@OUTSIDE@", flags)
            os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
        except OSError:
            continue
        return "escaped"
    return "stopped"
