# trick: writes a file that is longer than any file may be
# outcome: wrong answer
# detail: it gave 'stopped'
def f(xs):
    try:
        with open("long", "wb") as file:
            for _ in range(70):
                file.write(bytes(1 << 20))
    except OSError:
        return "stopped"
    return "escaped"
