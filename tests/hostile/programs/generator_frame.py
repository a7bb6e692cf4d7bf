# trick: climbs from a generator's frame, which has other callers than a function's
# outcome: wrong answer
# detail: it gave 'done'
# tiers: bwrap namespaces landlock rlimits
def climb():
    frame = climber.gi_frame.f_back
    while frame is not None:
        frame.f_globals["passed"] = True
        if "request" in frame.f_locals:
            frame.f_locals["request"]["do"] = "passed"
        frame = frame.f_back
    yield "done"


climber = climb()


def f(xs):
    return next(climber)
