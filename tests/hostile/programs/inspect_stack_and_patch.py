# trick: replaces, by the inspect module, all functions of the modules that called it
# outcome: wrong answer
# tiers: bwrap namespaces landlock rlimits
import inspect
import types


def always(*values, **named):
    return {"value": {"nodes": [["list", []]], "item": [0]}}


def f(xs):
    for info in inspect.stack()[1:]:
        scope = info.frame.f_globals
        for name, value in list(scope.items()):
            if isinstance(value, types.FunctionType) and name not in ("f", "always"):
                scope[name] = always
        for name, value in list(scope.items()):
            if isinstance(value, type) and name == "_ProgramServer":
                value._value = always
    return "anything"
