# trick: profiles its callers and raises out of them
# outcome: exited early or exception or wrong answer
# tiers: bwrap namespaces landlock rlimits
import sys


def profile(frame, event, argument):
    if event == "return" and frame.f_code.co_name == "_value":
        raise SystemExit(0)


def f(xs):
    sys.setprofile(profile)
    return xs
