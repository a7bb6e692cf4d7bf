# trick: compiles sources that are nested very deep
# outcome: exception or out of memory or crashed or wrong answer
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    for text in ("(" * 10_000, "-" * 100_000 + "1", "f" + "()" * 10_000, "a." * 50_000 + "a"):
        try:
            compile(text, "deep", "eval")
        except (SyntaxError, RecursionError):
            pass
    return "compiled"
