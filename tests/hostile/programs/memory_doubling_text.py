# trick: doubles a text until there is no room
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
held = "x"
while True:
    held += held
