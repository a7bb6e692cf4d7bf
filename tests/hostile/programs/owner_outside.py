# trick: changes the owner and the attributes of a file outside
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    tries = (
        lambda: os.chown("@OUTSIDE@/canary", os.getuid(), os.getgid()),
        lambda: os.setxattr("@OUTSIDE@/canary", "user.hostile", b"1"),
        lambda: os.removexattr("@OUTSIDE@/canary", "user.hostile"),
    )
    for attempt in tries:
        try:
            attempt()
        except OSError:
            continue
        return "escaped"
    return "stopped"
