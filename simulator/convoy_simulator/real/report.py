"""What a run is told as: JSON for programs, Markdown for people, and the command that replays it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from convoy_simulator.real.slope import Slope
from convoy_simulator.real.soak import Options, Outcome, Struck


def replay(options: Options) -> str:
    """The command that makes the same faults at the same times."""
    words = f"--requests {options.requests} --seed {options.seed} --fault-every {options.fault_every_s:g}"
    return f'make soak-real ARGS="{words} --rate {options.rate:g} --callers {options.callers}"'


def write(outcome: Outcome, directory: Path) -> tuple[Path, Path]:
    """Write both below `directory`; their paths."""
    paths = directory / "report.json", directory / "report.md"
    paths[0].write_text(json.dumps(as_json(outcome), indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(as_markdown(outcome), encoding="utf-8")
    return paths


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything that is known."""
    account = outcome.account
    return {
        "replay": replay(outcome.options),
        "kept": outcome.is_kept,
        "seconds": round(outcome.seconds, 1),
        "requests_per_s": round(account.answered / outcome.seconds, 1),
        "latency_p50_s": outcome.p50_s,
        "latency_p99_s": outcome.p99_s,
        "lines": str(outcome.surroundings.lines),
        "small_disks": outcome.surroundings.disk_obstacle or "tmpfs",
        "account": {
            "sent": account.sent,
            "answered": account.answered,
            "lost": account.lost,
            "late": account.late,
            "failed": account.failed,
            "excused": account.excused,
            "duplicated": account.duplicated,
            "wrong": account.wrong,
            "open": account.open,
            "slowest_s": round(account.slowest_s, 3),
            "generations": {f"{model} {generation}": n for (model, generation), n in account.generations.items()},
            "errors": account.errors,
            "incidents": account.incidents,
        },
        "bars": [
            {"name": bar.name, "bound": bar.bound, "found": bar.found, "kept": bar.is_kept} for bar in outcome.bars
        ],
        "strikes": [
            {
                "at_s": round(struck.strike.begins_s, 2),
                "what": str(struck.strike),
                "sort": struck.strike.label,
                "answered_again_s": _rounded(struck.watch.recovered_s),
                "longest_pause_s": _rounded(struck.watch.longest_gap_s),
                "whole_again_s": _rounded(struck.whole_s),
            }
            for struck in outcome.struck
        ],
        "memory": {
            name: {
                "bytes_per_h": _rounded(slope.bytes_per_h, 0),
                "error_bytes_per_h": _rounded(slope.error_bytes_per_h, 0) if slope.lives else None,
                "seen_s": slope.seen_s,
                "lives": slope.lives,
                "most_bytes": slope.most_bytes,
            }
            for name, slope in outcome.slopes.items()
        },
        "deaths": outcome.deaths,
    }


def as_markdown(outcome: Outcome) -> str:
    """Tables: the bars, the faults by their sort, the memory of each process."""
    account, seconds = outcome.account, outcome.seconds
    lines = [
        f"{account.answered} of {account.sent} requests answered in {seconds / 60:.1f} min, "
        f"{account.answered / seconds:.0f}/s, p50 {outcome.p50_s * 1e3:.0f} ms, p99 {outcome.p99_s * 1e3:.0f} ms, "
        f"the slowest {account.slowest_s:.1f} s; {account.excused} errors excused, as capacity was missing.",
        f"Lines of boards: {outcome.surroundings.lines}. Replay: `{replay(outcome.options)}`",
        "",
        "| bar | bound | found | |",
        "|---|---|---|---|",
        *(f"| {bar.name} | {bar.bound} | {bar.found} | {'' if bar.is_kept else 'BROKEN'} |" for bar in outcome.bars),
        "",
        "| fault | times | answered again (s: median, most) | longest pause (s) | whole again (s: median, most) |",
        "|---|---|---|---|---|",
        *(_fault_line(sort, struck) for sort, struck in sorted(_by_sort(outcome).items())),
        "",
        "| process | lives | seen (min) | most (MB) | growth (MB/h) |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {slope.lives} | {slope.seen_s / 60:.1f} | {slope.most_bytes / 1e6:.1f} | {_growth(slope)} |"
            for name, slope in outcome.slopes.items()
        ),
        *(
            ["", "What went wrong first:", "", *(f"- {each}" for each in account.incidents)]
            if account.incidents
            else []
        ),
        *(["", "Ended by themselves:", "", *(f"- {each}" for each in outcome.deaths)] if outcome.deaths else []),
    ]
    return "\n".join(lines) + "\n"


def _by_sort(outcome: Outcome) -> dict[str, list[Struck]]:
    found: dict[str, list[Struck]] = {}
    for struck in outcome.struck:
        found.setdefault(struck.strike.label, []).append(struck)
    return found


def _fault_line(sort: str, struck: list[Struck]) -> str:
    again = [each.watch.recovered_s for each in struck if each.watch.recovered_s is not None]
    whole = [each.whole_s for each in struck if each.whole_s is not None]
    pause = max(each.watch.longest_gap_s for each in struck)
    return f"| {sort} | {len(struck)} | {_both(again)} | {pause:.2f} | {_both(whole)} |"


def _growth(slope: Slope) -> str:
    return (
        f"{slope.bytes_per_h / 1e6:+.2f} +- {slope.error_bytes_per_h / 1e6:.2f}" if slope.lives else "seen too shortly"
    )


def _both(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f}, {max(seconds):.2f}" if seconds else "never"


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
