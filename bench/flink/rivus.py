"""Rivus's side: its binary is built, makes the input, and runs each query in a process of its own."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from outcome import Outcome
from process import signal_all, start
from refusal import Refusal

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "rivus-nexmark"
BINARY = "nexmark"
FIGURES = ["records", "seconds", "peak_rss_bytes", "checkpoints"]
LOOK_EVERY_SECONDS = 0.01


def build():
    command = ["cargo", "build", "--release", "--locked", "-p", PACKAGE, "--message-format=json-render-diagnostics"]
    try:
        built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise Refusal("there is no cargo: install Rust (https://rustup.rs), or name a built binary with --rivus") from None
    if built.returncode != 0:
        raise Refusal(f"cargo couldn't build {PACKAGE}; what it says stands above")
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    built = [Path(message["executable"]) for message in messages if is_binary(message)]
    if not built:
        raise Refusal(f"cargo has built no {BINARY}: name a built binary with --rivus")
    return built[0]


def is_binary(message):
    return message["reason"] == "compiler-artifact" and message["executable"] and message["target"]["name"] == BINARY


class Rivus:
    def __init__(self, binary, parallelism):
        self.binary = binary
        self.parallelism = parallelism

    def make(self, bids, folder):
        """As many files as sources read at a time; a bid is in the file of its number's remainder."""
        command = ["lines", "make", "--bids", bids, "--files", self.parallelism, folder]
        self.finish(command, folder.with_suffix(".out"))
        if not folder.is_dir():
            raise Refusal(f"{self.binary} hasn't made {folder}: is it {BINARY}?")

    def run(self, query, bids, records, results):
        command = ["lines", "run", query, bids, "--out", results, "--parallelism", self.parallelism, "--json"]
        output = results.with_suffix(".out")
        usage, first_result = self.finish(command, output, results)
        told = self.told(output)
        if told["records"] != records:
            raise Refusal(f"Rivus's {query} has read {told['records']} records of {records}")
        return Outcome(
            records=records,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            seconds=told["seconds"],
            first_result_seconds=first_result,
            peak_resident_bytes=told["peak_rss_bytes"],
            checkpoints=told["checkpoints"],
        )

    def finish(self, arguments, output, results=None):
        """What the process has used when it has ended, and how long after its start the first committed file with a row was there."""
        began, first_result = time.monotonic(), None
        try:
            with open(output, "wb") as stdout:
                process = start([self.binary, *arguments], stdout=stdout)
        except OSError as error:
            raise Refusal(f"{self.binary} can't be run: {error.strerror}; --rivus names the binary {BINARY}") from None
        try:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            while not ended:
                if first_result is None and results and any(file.stat().st_size for file in results.glob("*.csv")):
                    first_result = time.monotonic() - began
                time.sleep(LOOK_EVERY_SECONDS)
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:
                signal_all(process, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            raise Refusal(f"{BINARY} {' '.join(map(str, arguments[:3]))} failed; what it says stands above")
        return usage, first_result

    def told(self, output):
        lines = output.read_text().splitlines() or [""]
        try:
            told = json.loads(lines[-1])
            return {name: told[name] for name in FIGURES}
        except (ValueError, KeyError, TypeError):
            raise Refusal(f"{self.binary} ended with {lines[-1][:80]!r}, not with {', '.join(FIGURES)} in JSON: build it anew") from None
