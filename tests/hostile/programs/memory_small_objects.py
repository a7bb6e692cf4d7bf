# trick: fills the memory to the last byte, with objects too small to leave room for a report
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    held = [bytearray(150 << 20)]  # to be there sooner
    while True:
        held.append((held, len(held)))
