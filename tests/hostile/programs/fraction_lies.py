# trick: returns a fraction whose numerator is text
# outcome: forbidden action or wrong answer
# tiers: bwrap namespaces landlock rlimits
from fractions import Fraction


def f(xs):
    lie = Fraction(1, 2)
    lie._numerator = "1e9"
    return lie
