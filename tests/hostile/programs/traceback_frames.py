# trick: climbs from the frames of an exception's trace, and keeps them alive
# outcome: wrong answer
# detail: it gave 'done'
# tiers: bwrap namespaces landlock rlimits
kept = []


def f(xs):
    try:
        raise ValueError
    except ValueError as error:
        frame = error.__traceback__.tb_frame
        while frame.f_back is not None:
            frame = frame.f_back
            kept.append(frame)
            for value in list(frame.f_locals.values()):
                if isinstance(value, dict) and "do" in value:
                    value.clear()
    return "done"
