# trick: replaces the functions by which the result is looked at
# outcome: wrong answer or exception or exited early or forbidden action
# tiers: bwrap namespaces landlock rlimits
import builtins


def f(xs):
    builtins.len = lambda value: 3
    builtins.sorted = lambda *values, **named: [1, 2, 3]
    builtins.isinstance = builtins.issubclass = lambda *values: True
    builtins.all = builtins.any = builtins.bool = lambda *values: True
    return []
