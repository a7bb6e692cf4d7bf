# trick: starts a process by posix_spawn
# outcome: forbidden action
# detail: fork
import os


def f(xs):
    return "escaped" if os.posix_spawn("/bin/true", ["true"], {}) else "stopped"
