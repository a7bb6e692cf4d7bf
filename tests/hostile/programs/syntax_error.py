# trick: is no Python, in a line that says "passed"
# outcome: syntax error
# detail: (line
# tiers: bwrap namespaces landlock rlimits
def f(xs): passed!
