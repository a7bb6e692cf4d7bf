# trick: replaces the handlers of errors in texts by one that leaves, and returns a bad text
# outcome: wrong answer or exited early
# tiers: bwrap namespaces landlock rlimits
import codecs
import os


def leave(error):
    os._exit(0)


def f(xs):
    for name in ("strict", "replace", "surrogateescape", "ignore"):
        codecs.register_error(name, leave)
    return "\ud800"
