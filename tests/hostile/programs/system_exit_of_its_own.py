# trick: raises its own kind of SystemExit, whose code and text say "passed"
# outcome: exited early
# detail: passed
# tiers: bwrap namespaces landlock rlimits
class Passed(SystemExit):
    code = "passed"

    def __str__(self):
        return "passed"


def f(xs):
    raise Passed("passed")
