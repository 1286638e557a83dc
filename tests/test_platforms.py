"""What only some systems have: the package does without it. Here it is hidden, as other systems cannot be tried."""

import ast
import os
import re

from conftest import ROOT

from srcnn_tf.system.threads import cores

TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "srcnn_tf").rglob("*.py")}
# Of the standard library, on POSIX systems alone, or on some of them.
MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
FUNCTIONS = {
    "os": "chown fchmod fork getegid geteuid getgid getloadavg getpgid getpriority getuid kill killpg memfd_create "
    "mkfifo mknod nice openpty pipe2 posix_fadvise posix_fallocate posix_spawn pread pwrite register_at_fork "
    "sched_getaffinity sched_setaffinity sched_yield sendfile setpgid setpriority setsid statvfs sync sysconf uname "
    "wait wait3 wait4 waitid",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm pause pthread_kill "
    "pthread_sigmask setitimer sigwait",
}
KNOWN = {"cli.py: os.kill"}  # which is there on Windows too, but ends the process at once, whatever the signal


def is_asked_for(tree, owner, name):
    return f"hasattr({owner}, '{name}')" in ast.unparse(tree)


def test_what_only_posix_has_is_asked_for_before_it_is_used():
    found = set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name in MODULES]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module] if node.module in MODULES else []
            elif isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                if node.attr in FUNCTIONS.get(owner, "").split() and not is_asked_for(tree, owner, node.attr):
                    names = [f"{owner}.{node.attr}"]
            found |= {f"{path.name}: {name}" for name in names}
    assert found - KNOWN == set()


def test_text_files_are_opened_with_their_encoding():
    """Which is another one on Windows, if it is not given."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and re.search(r"\.(read|write)_text$|^open$", ast.unparse(node.func)):
                call = ast.unparse(node)
                assert re.search(r"encoding=|^open\(.*'\w*b\w*'", call), f"{path}: {call}"


def test_without_affinity_all_cores_are_used(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert cores() == expected
