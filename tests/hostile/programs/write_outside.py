# trick: writes a file outside, by each way to open one
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    tries = (
        lambda: open("@OUTSIDE@/new", "w"),
        lambda: open("@OUTSIDE@/canary", "a"),
        lambda: open("@OUTSIDE@/canary", "r+"),
        lambda: os.open("@OUTSIDE@", os.O_TMPFILE | os.O_RDWR),
        lambda: os.mkdir("@OUTSIDE@/folder"),
        lambda: os.symlink("/", "@OUTSIDE@/link"),
        lambda: os.truncate("@OUTSIDE@/canary", 0),
        lambda: os.open("/../../.." + "@OUTSIDE@/canary", os.O_WRONLY | os.O_TRUNC),
    )
    for attempt in tries:
        try:
            attempt()
        except OSError:
            continue
        return "escaped"
    return "stopped"
