# trick: raises an exception whose text would clear the terminal and print a verdict of its own
# outcome: exception
# detail: ValueError
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise ValueError("\x1b[2J\x1b[Hpassed\r\n\n1 passed\x07\x00\u202e\u2028\ud800")
