# trick: prints verdicts to standard output and to standard error
# outcome: wrong answer
# tiers: bwrap namespaces landlock rlimits
import sys


def f(xs):
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            print('["passed", "", []]', file=stream, flush=True)
    return "printed"
