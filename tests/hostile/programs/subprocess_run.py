# trick: runs a shell
# outcome: forbidden action
# detail: fork
import subprocess


def f(xs):
    return subprocess.run(["/bin/sh", "-c", "echo escaped"], capture_output=True, text=True).stdout
