# trick: takes the open files of the process that wants the verdict
# outcome: forbidden action
# detail: prlimit64
import resource


def f(xs):
    resource.prlimit(int("@PID@"), resource.RLIMIT_NOFILE, (3, 3))
    return "escaped"
