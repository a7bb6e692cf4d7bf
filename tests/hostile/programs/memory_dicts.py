# trick: fills the memory with dicts that hold dicts
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    held = {"first": bytearray(150 << 20)}  # to be there sooner
    while True:
        held = {"inner": held, "text": str(id(held))}
