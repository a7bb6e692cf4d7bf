# trick: looks for files that its parents have left open
# outcome: wrong answer
# detail: it gave 'nothing found'
# tiers: bwrap namespaces landlock rlimits
import gc
import os

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    found = []
    null = os.stat("/dev/null").st_rdev
    for number in range(256):
        try:
            state = os.fstat(number)
        except OSError:
            continue
        if state.st_rdev != null and number != channel.end.fileno():
            found.append(number)
    return f"escaped: {found}" if found else "nothing found"
