# trick: lists the folders of the user and of the machine
# tiers: bwrap namespaces landlock
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    for path in ("@OUTSIDE@", "@OUTSIDE@/..", "/var/log", "/run", "/boot", "/sys", "/proc"):
        try:
            found = os.listdir(path)
        except OSError:
            continue
        return f"escaped: {path}: {found[:3]}"
    return "stopped"
