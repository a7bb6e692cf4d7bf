# trick: returns from the module, to skip what comes after it
# outcome: syntax error
# detail: 'return' outside function
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return []


return True
