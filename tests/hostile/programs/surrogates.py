# trick: returns text that no encoding can write
# outcome: wrong answer
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return "\ud800\udfff\x00\x1b[2J"
