# trick: reads the machine's passwords and the user's keys
# tiers: bwrap namespaces landlock
# outcome: wrong answer
# detail: it gave 'stopped'
import os
import pwd


def f(xs):
    paths = ["/etc/shadow", "/etc/passwd", "/etc/ssh/ssh_host_ed25519_key", "/root/.bash_history"]
    homes = ["/root", "/home", os.path.expanduser("~root")]
    try:
        homes += [entry.pw_dir for entry in pwd.getpwall()]
    except OSError:
        pass
    for home in homes:
        paths += [f"{home}/{name}" for name in (".netrc", ".ssh/id_rsa", ".bashrc", ".profile")]
    for path in paths:
        try:
            open(path).read()
        except OSError:
            continue
        return f"escaped: {path}"
    return "stopped"
