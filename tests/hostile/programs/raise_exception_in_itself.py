# trick: raises an exception that is its own cause, context and argument
# outcome: exception
# detail: ValueError
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    error = ValueError("passed")
    error.args = (error, [error])
    error.__context__ = error.__cause__ = error
    error.__traceback__ = None
    raise error
