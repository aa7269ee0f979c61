"""Runs the same four questions on Rivus and on Apache Flink 2.3.0, over the same files of JSON lines, and compares.

    python3 bench/flink/compare.py --bids 5M
    python3 bench/flink/compare.py --bids 1M --backend rocksdb --only slide session

It builds Rivus, installs Flink from its Python packages (once, into ~/.cache/rivus), makes the input, starts a Flink cluster, and runs
each query twice on either side, by turns; the second run counts (--runs). It prints a table, and whether the two outputs have the same rows.
Needs Linux, Python 3.10 to 3.12 with pip, a JDK of Java 17, 8 GB of memory, and what Rivus is built with.

The exit code is 0 where all outputs are equal, 1 where any differ, 2 where it couldn't run, 130 or 143 where it was stopped. README.md says what is fair and what isn't.
"""

import argparse
import contextlib
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import install
import rivus
import rows
import table
from cluster import BACKENDS, PARALLELISM, Cluster
from refusal import Refusal

HERE = Path(__file__).resolve().parent
QUERIES = ["filter", "slide", "session", "join"]


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        install.require_java()
        ours = rivus.Rivus(arguments.rivus or rivus.build(), PARALLELISM)
        home = install.flink()
        with workplace(arguments.dir, arguments.keep) as folder:
            return 0 if compare_all(arguments, ours, home, folder) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (Refusal, OSError) as why:
        tell(f"compare.py: {why}")
        return 2


def parse():
    parser = Parser(description="Runs the same queries on Rivus and on Apache Flink, and compares.")
    parser.add_argument("--bids", type=number, default="5M", help="how many bids the input has, as 200k or 5M (default: 5M)")
    parser.add_argument("--backend", choices=BACKENDS, default="heap", help="where Flink's state lies (default: heap)")
    parser.add_argument("--only", nargs="+", choices=QUERIES, default=QUERIES, metavar="QUERY", help="of " + ", ".join(QUERIES))
    parser.add_argument("--runs", type=runs, default=2, metavar="N", help="of each query, of which the last counts (default: 2)")
    parser.add_argument("--rivus", type=Path, metavar="PATH", help=f"a built {rivus.BINARY}, in the place of building one")
    parser.add_argument("--flink-memory", type=memory, default="4g", metavar="SIZE", help="of the TaskManager's process (default: 4g)")
    parser.add_argument("--dir", type=Path, default=rivus.ROOT / "target", help="where a folder for the files is made (default: target)")
    parser.add_argument("--keep", action="store_true", help="leave that folder, with the input, the outputs and Flink's logs")
    return parser.parse_args()


class Parser(argparse.ArgumentParser):
    def error(self, message):
        """One line, without the usage before it."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def number(text):
    parts = re.fullmatch(r"([1-9]\d*)([kM]?)", text)
    if parts is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bids: write 200k or 5M")
    return int(parts[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[parts[2]]


def runs(text):
    if re.fullmatch(r"[1-9]\d?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs: write 2")
    return int(text)


def memory(text):
    if re.fullmatch(r"[1-9]\d*[mg]", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size of memory: write 2500m or 4g")
    return text


@contextlib.contextmanager
def workplace(parent, keep):
    """A folder for all files of this run."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="flink-", dir=parent.resolve()))
    try:
        if re.search(r"[^\w./+-]", str(folder)):
            raise Refusal(f"{folder} has letters that Flink's scripts would take apart: choose another place with --dir")
        yield folder
    finally:
        if keep:
            tell(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def compare_all(arguments, ours, home, folder):
    """Prints the table; whether all outputs are equal."""
    bids = folder / "bids"
    tell(f"making {arguments.bids:,} bids")
    ours.make(arguments.bids, bids)
    files = sorted(bids.iterdir())
    print(
        f"{arguments.bids:,} bids, {sum(file.stat().st_size for file in files) / 1e6:,.0f} MB in {len(files)} files; "
        f"parallelism {PARALLELISM}, a checkpoint each second; "
        f"Flink {install.VERSION} with its state in {arguments.backend} and {arguments.flink_memory} of memory; "
        f"the last of {arguments.runs} runs\n\n{table.HEAD}",
        flush=True,
    )
    differing = {}
    with Cluster(home, folder / "cluster", arguments.backend, arguments.flink_memory) as flink:
        for query in arguments.only:
            differing[query] = compare_one(query, arguments, bids, ours, flink, folder)
    for query, rows_of_one in differing.items():
        for sign, row in rows_of_one:
            print(f"{query}: only {'Rivus' if sign == '+' else 'Flink'} has {row.decode(errors='replace')}")
    return not any(differing.values())


def compare_one(query, arguments, bids, ours, flink, folder):
    """Prints the query's row of the table; the first rows of the outputs that differ."""
    sql = (HERE / "bids.sql").read_text() + (HERE / f"{query}.sql").read_text()
    our_results, their_results = folder / f"{query}-rivus", folder / f"{query}-flink"
    for run in range(1, arguments.runs + 1):
        tell(f"{query}, run {run} of {arguments.runs}")
        for before in (our_results, their_results):
            shutil.rmtree(before, ignore_errors=True)
        theirs = flink.run(query, sql, bids, arguments.bids, their_results)
        outcome = ours.run(query, bids, arguments.bids, our_results)
    count, differing = rows.compare(rivus_files(our_results), flink_files(their_results), folder)
    verdict = "differ" if differing else f"equal: {count:,} rows" if count else "no rows on either side"
    print(table.row(query, outcome, theirs, verdict), flush=True)
    return differing


def rivus_files(results):
    return sorted(results.glob("*.csv"))


def flink_files(results):
    """Those that aren't committed are hidden; where there is no row there is no folder."""
    return sorted(file for file in results.glob("*") if not file.name.startswith("."))


def tell(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
