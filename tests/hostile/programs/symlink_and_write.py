# trick: writes outside through symbolic links in its own folder
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    os.symlink("@OUTSIDE@", "link")
    os.symlink("@OUTSIDE@/canary", "file")
    os.symlink("../../../../../../../../.." + "@OUTSIDE@", "up")
    for path in ("link/new", "link/canary", "file", "up/new"):
        try:
            open(path, "w")
        except OSError:
            continue
        return "escaped"
    return "stopped"
