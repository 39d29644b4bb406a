"""A benchmark record as text: rows of a table, and what they come to in sentences."""

from collections.abc import Iterator
from typing import Any

from modeling_evf_sam.bench.stages import CALL

COLUMNS = ("", "sentences", "median", "spread", "photos/s", "per sentence", "GFLOP", "of peak", "memory")


def headline(record: dict[str, Any]) -> str:
    """What was measured, and on which machine."""
    machine, setting = record["machine"], record["setting"]
    photos = "1 photo" if setting["photos"] == 1 else f"{setting['photos']} photos"
    where = machine["name"]
    if machine["device"] != "cuda":
        flags = f" ({', '.join(machine['flags'])})" if machine.get("flags") else ""
        where += f"{flags}, {machine['threads']} threads"
    return (
        f"{record['model']} ({setting['parameters'] / 1e6:,.1f} M parameters, {record['weights']} weights), "
        f"{setting['dtype']}, {photos} a call, view of {setting['view_size']} px, {setting['tokens']} tokens a "
        f"sentence, {setting['repeats']} runs; {where}, torch {machine['torch']}"
    )


def rows(record: dict[str, Any]) -> Iterator[list[str]]:
    """Rows for `COLUMNS`: median and spread (fastest to slowest) of the timed runs.

    `of peak` compares FLOP per second with the encoder's largest linear layer alone, in the same run and precision;
    `memory` is what a run took on top of weights and inputs.
    """
    for entry in record["measurements"]:
        name = entry["what"]
        if entry["what"].startswith(("transformers", "matrix", f"{CALL}, ")):
            name += f", {entry['dtype']}"
        yield [
            name,
            str(entry["sentences"] or ""),
            duration(entry["median"]),
            f"{duration(min(entry['seconds']))} to {duration(max(entry['seconds']))}",
            f"{entry['photos_per_second']:.3g}" if "photos_per_second" in entry else "",
            duration(entry["seconds_per_sentence"]) if "seconds_per_sentence" in entry else "",
            f"{entry['flops'] / 1e9:,.4g}" if entry["flops"] < 1e12 else f"{entry['flops'] / 1e9:,.0f}",
            "" if entry["share_of_peak"] is None else f"{100 * entry['share_of_peak']:.0f} %",
            f"{entry['memory'] / 1e6:,.0f} MB",
        ]


def findings(record: dict[str, Any]) -> Iterator[str]:
    """What the ratios of a record say, one sentence each."""
    ratios = record["ratios"]
    for count, call in ratios["call"].items():
        if int(count) != call["of"]:
            yield (
                f"{count} sentences take {call['time']:.2f} x the time of {call['of']} (FLOPs {call['flops']:.2f} x). "
                f"A call for each, as the original works, takes {call['separate_calls']:.2f} x as long as that."
            )
    yield (
        f"Another sentence on an encoded photo takes {100 * ratios['another_of_first_sentence']:.1f} % of a call with "
        "one sentence."
    )
    for dtype, other in ratios["transformers"].items():
        memory = other["more_memory"] / 1e6
        yield (
            f"transformers' image encoder in {dtype} takes {other['time']:.2f} x as long as this one in "
            f"{record['setting']['dtype']}, and {abs(memory):,.0f} MB {'more' if memory >= 0 else 'less'}."
        )


def markdown(record: dict[str, Any]) -> str:
    """A record as a section of a page: headline, table and findings."""
    table = [COLUMNS, ["---"] + ["--:"] * (len(COLUMNS) - 1), *rows(record)]
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([f"{headline(record)}.", "", *lines, "", *(f"- {text}" for text in findings(record)), ""])


def duration(seconds: float) -> str:
    """Three digits of seconds or milliseconds."""
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"
    return f"{1000 * seconds:.3g} ms"
