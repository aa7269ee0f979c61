"""A Flink cluster of its own: a JobManager and a TaskManager of two slots, on free ports of this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from string import Template

from install import VERSION, java
from outcome import Outcome
from process import cpu_seconds, peak_resident_bytes, signal_all, start
from refusal import Refusal

CLIENT = Path(__file__).with_name("Submit.java")
PARALLELISM = 2
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10
LOOK_EVERY_SECONDS = 0.02
ASK_EVERY_SECONDS = 0.1
BACKENDS = {"heap": "hashmap", "rocksdb": "rocksdb"}


class Cluster:
    """Runs while the `with` block does; whichever way that ends, no process is left."""

    def __init__(self, home, folder, backend, memory):
        self.home = home
        self.folder = folder
        self.java_options = shipped_java_options(home)
        self.rest_port, rpc_port = free_ports(2)
        self.processes = []
        for name in ("conf", "log", "tmp", "checkpoints"):
            (folder / name).mkdir(parents=True)
        self.configure(rpc_port, backend, memory)

    def __enter__(self):
        try:
            self.launch(self.home / "bin/jobmanager.sh", "start-foreground")
            self.task_manager = self.launch(self.home / "bin/taskmanager.sh", "start-foreground")
            self.wait_for_slots()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, query, sql, bids, records, results):
        """Submits the statements and waits for the job's end."""
        statements = self.folder / f"{query}.sql"
        statements.write_text(Template(sql).substitute(bids=f"file://{bids}", out=f"file://{results}"))
        watch = Watch(self.task_manager.pid, results)
        job = self.wait_for_job(query, self.submit(statements), watch)
        started, ended = job["start-time"] / 1000, job["end-time"] / 1000
        return Outcome(
            records=records,
            cpu_seconds=cpu_seconds(self.task_manager.pid) - watch.cpu_seconds_at(started),
            seconds=ended - started,
            first_result_seconds=watch.first_result_after(started),
            peak_resident_bytes=peak_resident_bytes(self.task_manager.pid),
            checkpoints=self.ask(f"/jobs/{job['jid']}/checkpoints")["counts"]["completed"],
        )

    def submit(self, statements):
        """The client, which ends when the job has begun."""
        return self.launch(
            java(),
            *self.java_options.split(),
            f"-Dlog.file={self.folder}/log/client.log",
            f"-Dlog4j.configurationFile={self.folder}/conf/log4j-cli.properties",
            "-classpath",
            f"{self.home}/lib/*",
            CLIENT,
            self.folder / "conf",
            statements,
        )

    def wait_for_job(self, query, client, watch):
        """The job as it is reported when it has finished."""
        asked, job = 0.0, None
        while job is None or job["state"] != "FINISHED":
            watch.look()
            time.sleep(LOOK_EVERY_SECONDS)
            if time.monotonic() - asked < ASK_EVERY_SECONDS:
                continue
            asked = time.monotonic()
            job = self.job_of(client)
            if job and job["state"] in ("FAILED", "CANCELED"):
                raise Refusal(f"Flink's {query} is {job['state']}: {self.cause(job['jid'])}")
            if job is None and client.poll() is not None and self.job_of(client) is None:
                raise Refusal(f"Flink's {query} wasn't submitted: {self.error_of(client)}")
            if self.task_manager.poll() is not None:
                raise Refusal(f"Flink's TaskManager ended in {query}: {self.error_of(self.task_manager)}")
        return job

    def job_of(self, client):
        """The job that the client has begun, if it has."""
        begun = re.search(r"^job (\w+)$", Path(client.output).read_text(errors="replace"), re.MULTILINE)
        return begun and self.ask(f"/jobs/{begun[1]}")

    def configure(self, rpc_port, backend, memory):
        """Writes the folder of settings that all of Flink's scripts read."""
        settings = {
            "env.java.opts.all": self.java_options,
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": rpc_port,
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.memory.process.size": "1600m",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.rest_port,
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": PARALLELISM,
            "taskmanager.memory.process.size": memory,
            "io.tmp.dirs": self.folder / "tmp",
            "state.backend.type": BACKENDS[backend],
            "execution.checkpointing.interval": "1s",
            "execution.checkpointing.mode": "EXACTLY_ONCE",
            "execution.checkpointing.incremental": "true",
            "execution.checkpointing.dir": f"file://{self.folder}/checkpoints",
            "restart-strategy.type": "none",
            "execution.target": "remote",
            "execution.runtime-mode": "STREAMING",
            "parallelism.default": PARALLELISM,
            "pipeline.object-reuse": "true",
            "table.local-time-zone": "UTC",
            "table.exec.mini-batch.enabled": "true",
            "table.exec.mini-batch.allow-latency": "2 s",
            "table.exec.mini-batch.size": 50000,
        }
        lines = "".join(f"{key}: {value}\n" for key, value in settings.items())
        (self.folder / "conf/config.yaml").write_text(lines)
        for logging in (self.home / "conf").glob("log4j*.properties"):
            (self.folder / "conf" / logging.name).write_text(logging.read_text())

    def launch(self, program, *arguments):
        """One of Flink's processes: its scripts become the Java that they start."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FLINK_", "HADOOP_"))}
        environment = inherited | {
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_LOG_DIR": str(self.folder / "log"),
            "FLINK_PID_DIR": str(self.folder / "tmp"),
        }
        with open(self.folder / "log" / f"{Path(program).stem}-{len(self.processes)}.out", "wb") as output:
            process = start([program, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT)
        process.output = output.name
        self.processes.append(process)
        return process

    def wait_for_slots(self):
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until:
            for process in self.processes:
                if process.poll() is not None:
                    raise Refusal(f"Flink didn't start: {self.error_of(process)}")
            try:
                if self.ask("/overview")["slots-available"] >= PARALLELISM:
                    return
            except (urllib.error.URLError, ConnectionError):
                pass  # it doesn't listen yet
            time.sleep(ASK_EVERY_SECONDS)
        raise Refusal(f"Flink's TaskManager hasn't registered in {START_SECONDS_MAX} s; its log is in {self.folder}/log")

    def cause(self, job_id):
        history = self.ask(f"/jobs/{job_id}/exceptions")["exceptionHistory"]["entries"]
        causes = re.findall(r"^(?:Caused by: )?(\S+(?:Exception|Error): .*)$", history[0]["stacktrace"], re.MULTILINE)
        return causes[-1] if causes else "no cause is told"

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def error_of(self, process):
        with open(process.output, errors="replace") as output:
            lines = [line.strip() for line in output if line.strip()]
        errors = [line for line in lines if "ERROR" in line or "Exception" in line]
        return (errors or lines or ["it said nothing"])[-1]

    def stop(self):
        for process in self.processes:
            signal_all(process, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS_MAX
        for process in self.processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            signal_all(process, signal.SIGKILL)
            process.wait()


class Watch:
    """What is seen of a TaskManager and of its output while a job runs."""

    def __init__(self, pid, results):
        self.pid = pid
        self.results = results
        self.samples = []
        self.first_result = None

    def look(self):
        self.samples.append((time.time(), cpu_seconds(self.pid)))
        if self.first_result is None and any(self.visible()):
            self.first_result = time.time()

    def visible(self):
        """Files that a reader sees: those that aren't committed are hidden."""
        return (file for file in self.results.glob("*") if not file.name.startswith(".") and file.stat().st_size > 0)

    def cpu_seconds_at(self, moment):
        """The last that was seen until then: what the idle process used while the client started is not the job's."""
        return max(cpu for seen, cpu in self.samples if seen <= moment)

    def first_result_after(self, moment):
        return None if self.first_result is None else self.first_result - moment


def shipped_java_options(home):
    """What Flink's own settings open of Java's modules to it."""
    settings = home / "conf/config.yaml"
    options = re.search(r"^\s+all: (--add-.*)$", settings.read_text(), re.MULTILINE)
    if options is None:
        raise Refusal(f"{settings} has no env.java.opts.all: Flink {VERSION} has it")
    return options[1]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
