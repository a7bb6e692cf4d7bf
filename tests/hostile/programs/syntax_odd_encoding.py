# trick: says that its coding: raw_unicode_escape turns what is a comment into code
# outcome: wrong answer
# detail: it gave 'comment'
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    # \u000a    import os; os._exit(0)
    return "comment"
