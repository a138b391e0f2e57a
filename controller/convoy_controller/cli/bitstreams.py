"""`convoy bitstream inspect | check | add`: what an image is, whether it may be loaded, and how it gets published."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy_controller.cli.exit_codes import ExitCode
from convoy_controller.cli.options import HomeOption, JsonOption
from convoy_controller.cli.printing import print_facts, print_json, print_table, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convoy_schema.bitstream import Indices, Part, Region, Report, RuleBook
    from convoy_schema.floorplan import Floorplan
    from convoy_schema.topology import Kind

    from convoy_controller.handoff import Handoff

_bitstream = typer.Typer(
    name="bitstream", no_args_is_help=True, help="Look into configuration images, check them, and add them."
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A .bit file, or one packed as .bit.gz.")]
PartOption = Annotated[
    str | None,
    typer.Option("--part", help="Part to check for, such as xc7z020; the floorplan's or the handoff's unless given."),
]
RulesOption = Annotated[
    Path | None, typer.Option("--rules", help="Rules in TOML in place of those that come with Convoy.")
]


@dataclass(frozen=True)
class _Broken:
    """One finding, as `--json` prints it."""

    rule: str
    expected: str
    came: str
    word: int | None
    why: str


@dataclass(frozen=True)
class _Verdict:
    """What `convoy bitstream check --json` prints."""

    file: str
    accepted: bool
    partition: str
    part: str
    frames: int
    crc: str
    findings: tuple[_Broken, ...]


@dataclass(frozen=True)
class _Added:
    """What `convoy bitstream add --json` prints."""

    digest: str
    shell: str
    part: str
    partition: str
    kind: str
    size: int
    manifest: str


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_bitstream)


# Inspect --------------------------------------------------------------------------------------------------------------


@_bitstream.command()
def inspect(file: FileArgument, as_json: JsonOption = False) -> None:
    """Say what an image is: part, columns it writes, resets, CRCs; with --json every packet too.

    JSON keys: design, header_part, date, time, header_says_partial, size, digest, idcode, part, kind, frames, passes,
    resets, columns (clock_region, kind, first, last, frames), crc_writes, crc, stray_words, packets (word, register,
    opcode, words, value, meaning). Exit codes: 0, 1 it is no image, 3 no such file.
    """
    from convoy_controller.image_facts import image_facts

    facts = image_facts(_read(file))
    if as_json:
        print_json(facts)
        return
    print_facts(
        (
            ("design", facts.design),
            ("part", f"{facts.header_part} (header), IDCODE {facts.idcode or 'none'}: {facts.part or 'not known'}"),
            ("made", f"{facts.date} {facts.time}"),
            ("size", f"{facts.size} bytes, sha256 {facts.digest}"),
            ("kind", f"{facts.kind}, {facts.frames} frames, each written {facts.passes or 'unequally many'} x"),
            ("reset", "the columns that its masks leave open" if facts.resets else "none"),
            ("CRC", f"{facts.crc} ({facts.crc_writes} are compared)"),
            ("behind its end", f"{facts.stray_words} words that should not be there" if facts.stray_words else ""),
        )
    )
    if facts.kind == "partial":
        print_table(
            ("CLOCK REGION", "KIND", "COLUMNS", "FRAMES"),
            [(row.clock_region, row.kind, f"{row.first}-{row.last}", str(row.frames)) for row in facts.columns],
        )


# Check ----------------------------------------------------------------------------------------------------------------


@_bitstream.command()
def check(
    file: FileArgument,
    partition: Annotated[str | None, typer.Option("--partition", help="The partition it is for.")] = None,
    floorplan: Annotated[
        str | None,
        typer.Option("--floorplan", help="TOML with part and partitions, or the name of one of Convoy's shells."),
    ] = None,
    hwh: Annotated[
        Path | None,
        typer.Option("--hwh", help="The design's hardware handoff: part and partitions' names, but no columns."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", help="Columns of the implemented region: X0Y1:20-23 or X0Y1:20-23,26; repeatable."),
    ] = None,
    memory_columns: Annotated[
        list[str] | None,
        typer.Option("--memory-columns", help="Its columns of block-RAM contents: X0Y1:2; repeatable."),
    ] = None,
    part: PartOption = None,
    full: Annotated[bool, typer.Option("--full", help="Check a full image (a shell) instead.")] = False,
    no_crc: Annotated[bool, typer.Option("--no-crc", help="Leave out the CRCs' values, which take longest.")] = False,
    rules: RulesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide whether an image may be loaded into a partition while everything round it runs, and say why not.

    JSON keys: file, accepted, partition, part, frames, crc (right, wrong, not compared), findings (rule, expected,
    came, word, why). Exit codes: 0 accepted, 1 refused, 2 wrong usage, 3 no such file or partition.
    """
    from convoy_schema.bitstream import check_full, check_partial

    book = _rules(rules)
    if full:
        if partition is not None or columns or memory_columns:
            raise typer.BadParameter("it covers the whole part: leave partition and columns out", param_hint="--full")
        target = _full_part(part, floorplan, hwh)
        report = check_full(_read(file), target, with_crc=not no_crc, rules=book.full)
        verdict = _verdict(file, report, "", target, target.geometry.memory_frames)
    else:
        region = _region(partition, floorplan, hwh, columns or [], memory_columns or [], part)
        report = check_partial(_read(file), region, with_crc=not no_crc, rules=book.partial)
        verdict = _verdict(file, report, region.name, region.part, region.frames.size)
    if as_json:
        print_json(verdict)
    else:
        _show(verdict)
    if not verdict.accepted:
        raise typer.Exit(ExitCode.FAILED)


def _verdict(file: Path, report: Report, partition: str, part: Part, frames: int) -> _Verdict:
    wrong = any(finding.rule.value == "crc" for finding in report.findings)
    crc = "not compared" if not report.is_crc_checked else "wrong" if wrong else "right"
    findings = tuple(
        _Broken(finding.rule.value, finding.expected, finding.came, finding.word, finding.rule.why)
        for finding in report.findings
    )
    return _Verdict(str(file), report.is_accepted, partition, part.name, frames, crc, findings)


def _show(verdict: _Verdict) -> None:
    place = f"partition {verdict.partition} of {verdict.part}" if verdict.partition else f"{verdict.part}, as a shell"
    if verdict.accepted:
        crc = "its CRCs are right" if verdict.crc == "right" else "its CRCs were not compared"
        typer.echo(f"accepted for {place}: it sets its {verdict.frames} frames and nothing else; {crc}")
        return
    typer.echo(f"refused for {place}:")
    for finding in verdict.findings:
        where = "" if finding.word is None else f" (word {finding.word})"
        typer.echo(f"  {finding.rule}: {finding.came}{where}")
        if finding.expected:
            typer.echo(f"      expected: {finding.expected}")
        typer.echo(f"      because {finding.why}")
    if verdict.crc == "not compared":
        typer.echo("The CRCs' values were not compared.")


# Add ------------------------------------------------------------------------------------------------------------------


@_bitstream.command()
def add(
    file: FileArgument,
    shell: Annotated[str, typer.Option("--shell", help="The shell that it is, or that its partition belongs to.")],
    partition: Annotated[str | None, typer.Option("--partition", help="For a module: its partition.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="For a module: the kind of layer that it runs.")] = None,
    part: PartOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Check an image, CRCs included, and put it into this fleet's catalogue, from which models are published.

    It takes the place of the one that was there for the same shell, part, partition and kind. Import a model, or a new
    version of it, afterwards: a model's bundle names its images once and for all.
    JSON keys: digest, shell, part, partition, kind, size, manifest. Exit codes: 0 added, 1 refused, 2 wrong usage,
    3 no such file, shell or partition.
    """
    from convoy_bitstreams import add_image, catalogue_with
    from convoy_schema.bitstream import check_full, check_partial
    from convoy_schema.bundle import ModuleImage, ShellImage
    from convoy_schema.names import digest_of

    from convoy_controller.cli.target import home_here
    from convoy_controller.errors import CatalogueError
    from convoy_controller.regions import region_in

    plan, module = _shell(shell), _kind(partition, kind)
    target = _named(part) or plan.part
    image = _read(file)
    digest = digest_of(image)
    entry: ShellImage | ModuleImage
    if module is None or partition is None:
        report = check_full(image, target)
        entry = ShellImage(shell, target.name, digest)
    else:
        report = check_partial(image, region_in(plan.regions, target, partition))
        entry = ModuleImage(shell, target.name, partition, module, digest)
    if not report.is_accepted:
        first = report.findings[0]
        raise CatalogueError(
            f"{file} is refused, {first}; `convoy bitstream check` tells all of it", rule=first.rule.value
        )
    folder = home_here(home).bitstreams
    there = catalogue_with(folder)
    known: tuple[ShellImage | ModuleImage, ...] = (*there.shells, *there.modules)
    if any(other.digest == digest and other != entry for other in known):
        raise CatalogueError(f"the catalogue has image {digest[:12]} for another place: one image is for one place")
    manifest = add_image(folder, entry, image)
    added = _Added(
        digest, shell, target.name, partition or "", module.value if module else "", len(image), str(manifest)
    )
    if as_json:
        print_json(added)
    else:
        what = f"{added.kind} for partition {added.partition} of shell {shell}" if module else f"shell {shell}"
        typer.echo(f"added {what} and part {target.name}, {size(added.size)}, digest {digest[:12]}: {manifest}")


def _shell(name: str) -> Floorplan:
    from convoy_bitstreams import floorplans

    from convoy_controller.errors import NotFoundError

    if name not in floorplans():
        raise NotFoundError(f"there is no shell {name!r}; there are {', '.join(floorplans())}")
    return floorplans()[name]


def _kind(partition: str | None, kind: str | None) -> Kind | None:
    from convoy_schema import topology

    if (partition is None) != (kind is None):
        raise typer.BadParameter("a module needs both, a shell neither", param_hint="--partition and --kind")
    if kind is None:
        return None
    kinds = {known.value: known for known in topology.Kind}
    if kind not in kinds:
        raise typer.BadParameter(f"{kind!r} is not one of {', '.join(kinds)}", param_hint="--kind")
    return kinds[kind]


# Where it may go ------------------------------------------------------------------------------------------------------


def _region(
    partition: str | None,
    floorplan: str | None,
    hwh: Path | None,
    columns: list[str],
    memory_columns: list[str],
    part: str | None,
) -> Region:
    from convoy_schema.bitstream import XC7Z020

    from convoy_controller.regions import check_handoff, region_from, region_in

    if partition is None:
        raise typer.BadParameter("which partition is it for? --full checks a shell", param_hint="--partition")
    handoff = _handoff(hwh)
    if handoff is not None:
        check_handoff(handoff, partition)
    given = bool(columns or memory_columns)
    if given == (floorplan is not None):
        carried = "a hardware handoff names part and partitions, not their columns: " if hwh and not given else ""
        raise typer.BadParameter(
            f"{carried}give a floorplan, or the implemented region's columns, such as --columns X0Y1:20-23",
            param_hint="--floorplan or --columns",
        )
    wanted = _named(part) or (handoff.part if handoff else None)
    if floorplan is None:
        return region_from(wanted or XC7Z020, partition, columns, memory_columns)
    found, regions = _floorplan(floorplan)
    return region_in(regions, wanted or found, partition)


def _full_part(part: str | None, floorplan: str | None, hwh: Path | None) -> Part:
    """The part of a full image, by whatever names one."""
    from convoy_schema.bitstream import XC7Z020

    handoff = _handoff(hwh)
    planned = _floorplan(floorplan)[0] if floorplan is not None else None
    return _named(part) or (handoff.part if handoff else None) or planned or XC7Z020


def _named(part: str | None) -> Part | None:
    from convoy_schema.bitstream import PARTS

    if part is not None and part not in PARTS:
        raise typer.BadParameter(f"{part!r} is not one of {', '.join(PARTS)}", param_hint="--part")
    return None if part is None else PARTS[part]


def _floorplan(given: str) -> tuple[Part, Mapping[str, Indices]]:
    """Part and regions of a floorplan's file, or of one of Convoy's shells."""
    from convoy_bitstreams import floorplans
    from convoy_schema.floorplan import parse_regions

    if not Path(given).is_file() and given in floorplans():
        plan = floorplans()[given]
        return plan.part, plan.regions
    return parse_regions(_text(Path(given)))


def _handoff(path: Path | None) -> Handoff | None:
    from convoy_controller.handoff import parse_handoff

    return None if path is None else parse_handoff(_read(path))


def _rules(path: Path | None) -> RuleBook:
    from convoy_schema.bitstream import parse_rules, shipped
    from convoy_schema.errors import BitstreamError

    if path is None:
        return shipped()
    try:
        return parse_rules(_text(path))
    except BitstreamError as error:
        raise typer.BadParameter(str(error), param_hint="--rules") from error


# Files ----------------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return _read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not text: {error}") from error


def _read(path: Path) -> bytes:
    """A file's content, unpacked if it is gzip-ed; bounded."""
    from convoy_schema.artifacts import MAX_ARTIFACT

    from convoy_controller.errors import CatalogueError, NotFoundError

    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_ARTIFACT + 1)
        if content[:2] == b"\x1f\x8b":
            content = zlib.decompressobj(wbits=31).decompress(content, MAX_ARTIFACT + 1)
    except (OSError, zlib.error) as error:
        raise CatalogueError(f"{path} cannot be read: {error}") from error
    if len(content) > MAX_ARTIFACT:
        raise CatalogueError(f"{path} may hold {MAX_ARTIFACT} bytes, it holds more")
    return content
