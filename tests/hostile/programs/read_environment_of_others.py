# trick: reads the environment and the command lines of all processes
# tiers: bwrap namespaces landlock
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    for number in ("1", "@PID@", str(os.getppid()), "self", "thread-self", str(os.getpid())):
        for name in ("environ", "cmdline", "maps", "status"):
            try:
                with open(f"/proc/{number}/{name}", "rb") as file:
                    return f"escaped: {number} {name} {file.read(20)}"
            except OSError:
                continue
    return "stopped"
