# trick: removes, moves and replaces the folder that it was given
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    mine = os.getcwd()
    os.mkdir("inner")
    for attempt in (
        lambda: os.rename(mine, mine + "-moved"),
        lambda: os.rename("inner", mine),
        lambda: os.symlink("@OUTSIDE@", mine),
        lambda: (os.rmdir("inner"), os.rmdir(mine)),
        lambda: os.mkdir(os.path.join(mine, "..", "beside")),
    ):
        try:
            attempt()
        except OSError:
            continue
        return "escaped"
    return "stopped"
