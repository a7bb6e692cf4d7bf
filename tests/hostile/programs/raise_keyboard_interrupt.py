# trick: raises KeyboardInterrupt, as if a person had ended the run
# outcome: exception
# detail: KeyboardInterrupt
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise KeyboardInterrupt
