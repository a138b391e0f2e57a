"""Real partials fit their own partition and no other; nothing that was made of an image by anyone gets through."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from bitstream_mutations import MUTATIONS, RESETTING, Draft, mutate, plain, write
from convoy_schema.bitstream import (
    EMULATED_XC7Z020,
    FRAME_WORDS,
    XC7Z020,
    Command,
    Finding,
    Part,
    Region,
    Register,
    Report,
    Rule,
    check_full,
    check_partial,
    parse_rules,
    write_full,
    write_partial,
)
from convoy_schema.bitstream.checker import MOST_FINDINGS
from convoy_schema.bitstream.header import Header, build_header
from convoy_schema.bitstream.packets import MAX_PACKETS, NOP, SYNC
from convoy_schema.errors import BitstreamError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_bitstreams import ALL_ROWS, COLUMNS, FULL, PARTIALS, frames_of, real, region_of

GEOMETRY = XC7Z020.geometry
EVERY_MUTATION = {**MUTATIONS, **RESETTING}
#: Generated images: one with logic alone, one with block RAM in every row.
REGIONS = {
    "logic": Region(XC7Z020, "logic", frames_of((26, 27), (), ((1, 0),))),
    "memory": Region(XC7Z020, "memory", frames_of((20, 23), (2,), ALL_ROWS)),
}


@cache
def made(name: str, part: Part = XC7Z020) -> bytes:
    region = REGIONS[name].frames
    content = np.random.default_rng(1).integers(0, 2**32, (region.size, FRAME_WORDS), dtype=np.uint32)
    # A random word in the clock row is no ECC, but nobody compares it.
    return write_partial(part, "made", region, content)


def rules_of(report: Report) -> set[str]:
    return {finding.rule.value for finding in report.findings}


def expect(report: Report, rule: str) -> None:
    """Refused for that reason, in words."""
    assert not report.is_accepted
    assert rule in rules_of(report), [str(finding) for finding in report.findings]
    assert len(report.findings) <= MOST_FINDINGS
    for finding in report.findings:
        assert len(finding.came) > 10
        assert finding.rule.why


# Real files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTIALS)
def test_a_real_partial_fits_its_own_partition_and_no_other(name: str) -> None:
    image, own = real(name), PARTIALS[name]
    for place in COLUMNS:
        report = check_partial(image, region_of(*place))
        assert report.is_accepted == (place == own), [str(finding) for finding in report.findings]
        assert report.is_crc_checked or not report.is_accepted


@pytest.mark.parametrize("name", PARTIALS)
def test_a_real_partial_is_no_full_image_and_not_for_another_part(name: str) -> None:
    image = real(name)
    assert "frames-missing" in rules_of(check_full(image, XC7Z020))
    own = region_of(*PARTIALS[name])
    report = check_partial(image, Region(EMULATED_XC7Z020, own.name, own.frames))
    assert rules_of(report) == {"part", "idcode"}


def test_the_real_full_image_is_one_and_is_no_partial() -> None:
    image = real(FULL)
    report = check_full(image, XC7Z020)
    assert report.is_accepted, [str(finding) for finding in report.findings]
    assert report.is_crc_checked
    for place in COLUMNS:
        refused = check_partial(image, region_of(*place))
        assert refused.findings[0].rule is Rule.FRAMES_OUTSIDE
        assert "it is a full image" in refused.findings[0].came


@pytest.mark.parametrize("name", PARTIALS)
@pytest.mark.parametrize("mutation", EVERY_MUTATION)
def test_no_mutation_of_a_real_partial_gets_through(name: str, mutation: str) -> None:
    change, rule = EVERY_MUTATION[mutation]
    mutant = mutate(real(name), change, GEOMETRY)
    assert mutant != real(name)
    expect(check_partial(mutant, region_of(*PARTIALS[name])), rule)


@pytest.mark.parametrize("name", PARTIALS)
def test_a_mutant_with_right_crcs_is_found_without_them(name: str) -> None:
    """The structure alone must find whatever an attacker can seal; CRCs are against accidents."""
    unsealed = {"flip a data bit", "alter the last CRC"}
    for mutation, (change, rule) in EVERY_MUTATION.items():
        if mutation not in unsealed:
            expect(
                check_partial(mutate(real(name), change, GEOMETRY), region_of(*PARTIALS[name]), with_crc=False), rule
            )


def test_the_structure_costs_no_more_than_ten_hashes() -> None:
    name = "prio_linux_pr_2_iic.bit"
    image, region = real(name), region_of(*PARTIALS[name])

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(7):
            begun = time.thread_time()
            work()
            times.append(time.thread_time() - begun)
        return min(times)

    def cold() -> None:
        assert check_partial(image, Region(XC7Z020, "x", region.frames), with_crc=False).is_accepted

    assert best(cold) <= 10 * best(lambda: hashlib.sha256(image).digest())


# Generated images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGIONS)
def test_a_made_partial_is_accepted_with_and_without_crc(name: str) -> None:
    assert check_partial(made(name), REGIONS[name]) == Report((), True, None)
    assert check_partial(made(name), REGIONS[name], with_crc=False) == Report((), False, None)


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("mutation", EVERY_MUTATION)
def test_no_mutation_of_a_made_partial_gets_through(name: str, mutation: str) -> None:
    change, rule = EVERY_MUTATION[mutation]
    expect(check_partial(mutate(made(name), change, GEOMETRY), REGIONS[name]), rule)


@pytest.mark.parametrize("name", REGIONS)
def test_a_partial_without_a_reset_is_accepted(name: str) -> None:
    assert check_partial(plain(made(name), GEOMETRY), REGIONS[name]).is_accepted


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_no_mutation_of_a_partial_without_a_reset_gets_through(mutation: str) -> None:
    change, rule = MUTATIONS[mutation]
    expect(check_partial(mutate(plain(made("logic"), GEOMETRY), change, GEOMETRY), REGIONS["logic"]), rule)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_nops_may_stand_anywhere(data: st.DataObject) -> None:
    draft = Draft.of(made("logic"), GEOMETRY)
    for _ in range(data.draw(st.integers(1, 5))):
        heads = [draft.head(packet) for register in Register for packet in draft.packets(register)]
        draft.insert(data.draw(st.sampled_from(heads)), [NOP] * data.draw(st.integers(1, 500)))
    assert check_partial(draft.sealed(), REGIONS["logic"]).is_accepted


def test_the_silicon_revision_and_the_package_do_not_matter() -> None:
    draft = Draft.of(made("logic"), GEOMETRY)
    draft.header = Header("d", "7z020clg484", "2024/01/01", "00:00:00")
    draft.set(draft.packets(Register.IDCODE)[0], 0x13727093)
    assert check_partial(draft.sealed(), REGIONS["logic"]).is_accepted
    draft.header = Header("d", "7z0200clg484", "2024/01/01", "00:00:00")
    assert rules_of(check_partial(draft.raw(), REGIONS["logic"])) == {"part"}


def test_the_order_of_bursts_does_not_matter() -> None:
    region = REGIONS["memory"]
    draft = Draft.of(made("memory"), GEOMETRY)
    bursts = draft.bursts()
    # Two bursts of one pass that are of the same length.
    first, second = bursts[0], bursts[1]
    assert first.count == second.count
    fars = draft.far_of(first), draft.far_of(second)
    draft.set(fars[0], fars[1].value or 0).set(fars[1], fars[0].value or 0)
    assert check_partial(draft.sealed(), region).is_accepted


def test_a_smaller_image_leaves_the_module_before() -> None:
    smaller = Region(XC7Z020, "smaller", frames_of((26, 26), (), ((1, 0),)))
    image = write_partial(
        XC7Z020, "made", smaller.frames, np.zeros((smaller.frames.size, FRAME_WORDS), dtype=np.uint32)
    )
    assert check_partial(image, smaller).is_accepted
    assert rules_of(check_partial(image, REGIONS["logic"])) == {"frames-missing", "reset-mask"}
    assert rules_of(check_partial(plain(image, GEOMETRY), REGIONS["logic"])) == {"frames-missing"}


def test_a_refusal_names_who_owns_the_frames_and_where_they_are() -> None:
    region = Region(
        XC7Z020, "west", frames_of((20, 21), (), ((1, 0),)), {"east": REGIONS["logic"].frames, "far": np.arange(3)}
    )
    first = check_partial(made("logic"), region).findings[0]
    assert (first.rule, first.word) == (Rule.FRAMES_OUTSIDE, 23085)
    assert "72 frames lie outside, some of them in east; the first is column 26 of clock region X0Y1" in first.came
    assert "frames of west alone" in first.expected
    assert "word 23085" in str(first)


# Full images ----------------------------------------------------------------------------------------------------------


@cache
def made_full() -> bytes:
    return write_full(XC7Z020, "made", np.ones((GEOMETRY.memory_frames, FRAME_WORDS), dtype=np.uint32))


def test_a_made_full_image_is_accepted() -> None:
    assert check_full(made_full(), XC7Z020).is_accepted
    assert rules_of(check_full(made_full(), EMULATED_XC7Z020)) == {"part", "idcode"}


def dirty_row_pad(draft: Draft) -> bytes:
    pad = int(np.flatnonzero(GEOMETRY.landing(0, GEOMETRY.full_burst) < 0)[0])
    draft.words[draft.bursts()[0].offset + pad * FRAME_WORDS] = 1
    return draft.sealed()


def flipped(draft: Draft) -> bytes:
    draft.words[draft.words.size // 2] ^= 1
    return draft.raw()


FULL_MUTATIONS: dict[str, tuple[Callable[[Draft], bytes], str]] = {
    "WBSTAR": (lambda draft: draft.set(draft.packets(Register.WBSTAR)[0], 0x400000).sealed(), "value"),
    "TIMER": (lambda draft: draft.set(draft.packets(Register.TIMER)[0], 0x40000001).sealed(), "value"),
    "IPROG": (lambda draft: draft.set(draft.packets(Register.CMD, Command.NULL)[0], 15).sealed(), "command"),
    "security": (lambda draft: draft.set(draft.packets(Register.CTL0)[0], 0x531).sealed(), "control"),
    "encryption": (lambda draft: draft.insert(14, write(Register.CBC, 1, 2, 3, 4)).sealed(), "register"),
    "half": (lambda draft: draft.resize(draft.bursts()[0], 5004 * FRAME_WORDS).sealed(), "frames-missing"),
    "a row's pad": (dirty_row_pad, "pad"),
    "no start": (lambda draft: draft.erase(draft.packets(Register.CMD, Command.START)[0]).sealed(), "sequence"),
    "no CRC": (lambda draft: draft.erase(*draft.packets(Register.CRC)).sealed(), "crc-missing"),
    "flip": (flipped, "crc"),
}


@pytest.mark.parametrize("mutation", FULL_MUTATIONS)
def test_no_mutation_of_a_full_image_gets_through(mutation: str) -> None:
    change, rule = FULL_MUTATIONS[mutation]
    expect(check_full(change(Draft.of(made_full(), GEOMETRY)), XC7Z020), rule)


# Whatever the bytes are -----------------------------------------------------------------------------------------------


def image_of(*words: int) -> bytes:
    payload = np.array([0xFFFFFFFF, SYNC, *words], dtype=">u4").tobytes()
    return build_header(Header("x", "7z020", "d", "t"), len(payload)) + payload


def refused(image: bytes) -> tuple[Finding, ...]:
    """Refused as a partial and as a full image, in time."""
    begun = time.thread_time()
    reports = check_partial(image, REGIONS["logic"]), check_full(image, XC7Z020)
    assert time.thread_time() - begun < 2
    assert not any(report.is_accepted for report in reports)
    return reports[0].findings


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_refused(content: bytes, framed: bool) -> None:
    refused(build_header(Header("x", "7z020", "d", "t"), len(content)) + content if framed else content)


WORDS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from([NOP, SYNC, 0x30004065, 0x30004000, 0x50000065, 0x500000CA, 0x30002001, 0x3000C001, 0x3000A001]),
    st.builds(lambda register, count: 0x30000000 | register << 13 | count, st.integers(0, 31), st.integers(0, 2)),
    st.integers(0, 16),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(WORDS, max_size=80))
def test_garbage_behind_the_sync_word_is_refused(words: list[int]) -> None:
    refused(image_of(*words, *write(Register.CMD, Command.DESYNC)))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.data_too_large])
@given(st.data())
def test_random_mutants_with_right_crcs_change_data_or_are_refused(data: st.DataObject) -> None:
    """Whatever is done to the words between the frames: accepted is only what writes the same places the same way."""
    draft = Draft.of(made("logic"), GEOMETRY)
    data_words = np.zeros(draft.words.size, dtype=bool)
    resets = draft.resets()
    assert resets is not None
    for burst in [*draft.bursts(), resets]:
        data_words[burst.offset : burst.offset + burst.count] = True
    others = np.flatnonzero(~data_words)[13:].tolist()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(others))
        flipped_bit = 1 << data.draw(st.integers(0, 31))
        draft.words[at] = data.draw(st.one_of(WORDS, st.just(int(draft.words[at]) ^ flipped_bit)))
    try:
        mutant = draft.sealed()
    except BitstreamError:  # what cannot be walked cannot be sealed
        mutant = draft.raw()
    report = check_partial(mutant, REGIONS["logic"])
    if report.is_accepted:
        assert report.bitstream is not None
        bursts = report.bitstream.bursts
        assert [burst.far for burst in bursts][-2:] == [0x400D00, 0x400D00]
        assert [len(burst.frames) for burst in bursts][-2:] == [73, 73]
        assert report.bitstream.idcode is not None
        assert XC7Z020.answers(report.bitstream.idcode)
        assert not report.bitstream.stray_words


@pytest.mark.parametrize("count", [1, MAX_PACKETS])
def test_many_packets_take_no_time(count: int) -> None:
    burst = [*write(Register.FAR, 0x400D00), 0x30004000, 2 << 29 | 2 << 27 | 2 * FRAME_WORDS, *[0] * 2 * FRAME_WORDS]
    flood = burst * min(count, MAX_PACKETS // 2)
    assert refused(image_of(*flood, *write(Register.CMD, Command.DESYNC)))
    assert refused(image_of(*write(Register.CMD, 0) * count, *write(Register.CMD, Command.DESYNC)))
    assert refused(image_of(*write(Register.FAR, 0) * count, *write(Register.CMD, Command.DESYNC)))


def test_a_large_file_takes_no_time() -> None:
    assert refused(image_of(*[NOP] * 4_000_000, *write(Register.CMD, Command.DESYNC)))
    assert refused(bytes(60_000_000))[0].rule is Rule.HEADER


# Other rules ----------------------------------------------------------------------------------------------------------


def test_other_rules_decide_otherwise() -> None:
    shipped = _shipped()
    once = parse_rules(shipped.replace("passes = 2", "passes = 1")).partial
    one_pass = mutate(made("logic"), MUTATIONS["one pass only"][0], GEOMETRY)
    assert check_partial(one_pass, REGIONS["logic"], rules=once).is_accepted
    assert rules_of(check_partial(made("logic"), REGIONS["logic"], rules=once)) == {"passes"}
    free = parse_rules(shipped.replace("whole = true", "whole = false", 1)).partial
    smaller = plain(
        write_partial(XC7Z020, "s", np.arange(5000, 5003, dtype=np.int32), np.zeros((3, FRAME_WORDS), np.uint32)),
        GEOMETRY,
    )
    larger = Region(XC7Z020, "larger", np.arange(4990, 5010, dtype=np.int32))
    assert check_partial(smaller, larger, rules=free).is_accepted
    assert rules_of(check_partial(smaller, larger)) == {"frames-missing"}


def _shipped() -> str:
    from importlib import resources

    return (resources.files("convoy_schema.bitstream") / "rules.toml").read_text(encoding="utf-8")
