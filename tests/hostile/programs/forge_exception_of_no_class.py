# trick: says that it has raised a thing that is no exception, with arguments that are nonsense
# outcome: exception or forbidden action
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send(
        {
            "raised": "a\0b" * 10_000,
            "kinds": ["eval", 3, None, "Ellipsis", "ExceptionGroup"],
            "arguments": {"nodes": [["object", -1, "x", True]], "items": [[0], [0]]},
            "text": {"passed": True},
            "line": "passed",
        }
    )
    return xs
