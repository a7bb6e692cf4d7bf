# trick: fills the memory to the last byte, with objects too small to leave room for a report
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    held = []
    while True:
        held.append((held, len(held)))
