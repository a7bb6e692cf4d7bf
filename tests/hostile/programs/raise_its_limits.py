# trick: gives itself all the memory, files and processes there are
# outcome: wrong answer
# detail: it gave 'stopped'
import resource

NAMES = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE")


def f(xs):
    for name in NAMES:
        kind = getattr(resource, name)
        for amount in (resource.RLIM_INFINITY, resource.getrlimit(kind)[1] + 1):
            try:
                resource.setrlimit(kind, (amount, amount))
            except (OSError, ValueError):
                continue
            return f"escaped: {name}"
    return "stopped"
