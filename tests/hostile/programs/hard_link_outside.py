# trick: makes a second name for a file outside in its own folder, to write it by that
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    for source in ("@OUTSIDE@/canary", "@SECRET@", "/etc/passwd"):
        try:
            os.link(source, "mine")
            open("mine", "r+").write("x")
        except OSError:
            continue
        return "escaped"
    return "stopped"
