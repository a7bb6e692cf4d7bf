# trick: matches an expression that backtracks for centuries
# outcome: timeout
# tiers: bwrap namespaces landlock rlimits
import re


def f(xs):
    return re.match(r"(a|a|b?)*(a+)+$", "a" * 60 + "!")
