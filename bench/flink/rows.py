"""Two outputs held against each other, row by row; what order the rows came in doesn't matter, how often each came does."""

import os
import subprocess
from itertools import islice

from refusal import Refusal

SHOWN = 5


def compare(ours, theirs, folder):
    """How many rows of `ours` there are, and the first few rows that only one side has, as pairs of "+" or "-" and the row."""
    differing = list(islice(differences(sorted_rows(ours, folder), sorted_rows(theirs, folder)), SHOWN))
    return count(ours), differing


def differences(ours, theirs):
    """A merge of two ascending streams: "+" stands before a row that only `ours` has, "-" before one of `theirs`."""
    our, their = next(ours, None), next(theirs, None)
    while our is not None or their is not None:
        if our == their:
            our, their = next(ours, None), next(theirs, None)
        elif their is None or (our is not None and our < their):
            yield "+", our
            our = next(ours, None)
        else:
            yield "-", their
            their = next(theirs, None)


def sorted_rows(files, folder):
    """The rows of all files in the order of their bytes. The sorting is coreutils' `sort`: it needn't fit into memory."""
    if not files:
        return
    command = ["sort", "--buffer-size=256M", f"--temporary-directory={folder}", "--", *map(str, files)]
    with subprocess.Popen(command, env=os.environ | {"LC_ALL": "C"}, stdout=subprocess.PIPE) as sort:
        try:
            for line in sort.stdout:
                yield line.rstrip(b"\n")
            if sort.wait() != 0:
                raise Refusal("the rows couldn't be sorted; what sort says stands above, and --dir names another place for its files")
        finally:
            sort.kill()  # it may not have been read to its end


def count(files):
    total = 0
    for file in files:
        with open(file, "rb") as lines:
            total += sum(1 for _ in lines)
    return total
