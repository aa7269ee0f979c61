"""The comparison as a table of text."""

HEAD = (
    "               records per CPU-second         seconds      first result, s     peak, MB      checkpoints\n"
    "query          Rivus      Flink   times    Rivus   Flink    Rivus   Flink    Rivus   Flink   Rivus  Flink   outputs"
)


def row(query, rivus, flink, verdict):
    times = rivus.records_per_cpu_second / flink.records_per_cpu_second
    return (
        f"{query:<8}"
        f"{rivus.records_per_cpu_second:>12,.0f}{flink.records_per_cpu_second:>11,.0f}{times:>8.1f}"
        f"{rivus.seconds:>9.1f}{flink.seconds:>8.1f}"
        f"{seconds(rivus.first_result_seconds):>9}{seconds(flink.first_result_seconds):>8}"
        f"{megabytes(rivus):>9,.0f}{megabytes(flink):>8,.0f}"
        f"{rivus.checkpoints:>8}{flink.checkpoints:>7}"
        f"   {verdict}"
    )


def seconds(value):
    return "-" if value is None else f"{value:.1f}"


def megabytes(outcome):
    return outcome.peak_resident_bytes / 1e6
