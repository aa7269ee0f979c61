"""Gets Apache Flink from its Python packages, once, and looks for the Java that it needs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from refusal import Refusal

VERSION = "2.3.0"
PACKAGES = [f"apache-flink=={VERSION}", f"apache-flink-libraries=={VERSION}"]
JAVA_AT_LEAST = 17


def flink():
    """The folder of the distribution: its scripts are in the one package, its jars in the other."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rivus" / f"flink-{VERSION}"
    home = cache / "pyflink"
    if not is_whole(home):
        install(cache)
    if not is_whole(home):
        raise Refusal(f"{home} lacks Flink's scripts or jars: remove {cache} and run this again")
    return home


def is_whole(home):
    return (home / "bin/taskmanager.sh").exists() and (home / f"lib/flink-dist-{VERSION}.jar").exists()


def install(cache):
    """Into a folder beside, which gets its name when it is complete."""
    partial = cache.with_name(f"{cache.name}.{os.getpid()}.part")
    print(f"installing Flink {VERSION} into {cache} (about 350 MB)", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(partial), *PACKAGES]
    try:
        if subprocess.run(command, stdout=sys.stderr).returncode != 0:
            raise Refusal(f"pip couldn't install {' and '.join(PACKAGES)}; what it says stands above")
        shutil.rmtree(cache, ignore_errors=True)
        partial.rename(cache)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def java():
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin/java") if home else "java"


def require_java():
    """A JDK: the client that submits is compiled as it starts."""
    mend = f"install a JDK of Java {JAVA_AT_LEAST} or later (Debian: apt-get install openjdk-17-jdk-headless)"
    try:
        told = subprocess.run([java(), "-version"], capture_output=True, text=True).stderr
        modules = subprocess.run([java(), "--list-modules"], capture_output=True, text=True).stdout
    except OSError:
        raise Refusal(f"{java()} can't be run: {mend}") from None
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < JAVA_AT_LEAST:
        raise Refusal(f"{java()} is {told.splitlines()[0] if told else 'of no known version'}: {mend}")
    if "jdk.compiler" not in modules:
        raise Refusal(f"{java()} has no compiler: {mend}")
