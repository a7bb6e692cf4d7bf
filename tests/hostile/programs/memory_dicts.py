# trick: fills the memory with dicts that hold dicts
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    held = {}
    while True:
        held = {"inner": held, "text": str(id(held))}
