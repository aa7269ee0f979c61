"""Processes that don't outlive this one, and what they have used so far, as /proc tells it."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def start(command, **options):
    """In a session of its own, so that Ctrl-C is this process's alone; it is killed when this one dies, however that comes about."""
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        **options,
    )


def signal_all(process, number):
    """The process and what it has started itself, unless it has ended: its number may be another's by now."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def cpu_seconds(pid):
    """Time on all cores, in user space and in the kernel, of all threads that the process has or had."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(after_name[11]), int(after_name[12])
    return (user + system) / TICKS_PER_SECOND


def peak_resident_bytes(pid):
    """The most memory that was resident at a time."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    raise OSError(f"/proc/{pid}/status has no VmHWM")
