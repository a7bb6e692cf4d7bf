# trick: defines the name that is tested as a thing that cannot be called
# outcome: exception
# detail: not callable
# tiers: bwrap namespaces landlock rlimits
f = [1, 2, 3]
