# trick: has a timer's handler raise in whatever is going on after the call
# outcome: exited early or exception or wrong answer
# tiers: bwrap namespaces landlock rlimits
import signal


def handler(number, frame):
    raise SystemExit(0)


def f(xs):
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-5, 1e-5)
    return [0] * 1000
