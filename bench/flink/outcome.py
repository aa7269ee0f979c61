"""What one run of one query took."""

from dataclasses import dataclass


@dataclass
class Outcome:
    records: int
    cpu_seconds: float
    seconds: float
    first_result_seconds: float | None
    peak_resident_bytes: int
    checkpoints: int

    @property
    def records_per_cpu_second(self):
        return self.records / self.cpu_seconds
