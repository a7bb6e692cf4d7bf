# trick: says that it has raised what ends a process well
# outcome: exited early
# detail: passed
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
nothing = {"nodes": [], "items": []}


def f(xs):
    channel.send(
        {"raised": "passed", "kinds": ["SystemExit"], "arguments": nothing, "text": "passed"}
    )
    return xs
