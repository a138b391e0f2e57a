from dataclasses import replace

from convoy_device.progress import ANSWER_S, JOB_S, LINK_S, LinkSight, Progress, Sight

WELL = Sight((LinkSight("control", True, 1, 1), LinkSight("bulk", True, 1, 1)))


def later(sight: Sight, by: int) -> Sight:
    """Everything that should grow has grown."""
    links = tuple(replace(link, round_trips=link.round_trips + by, attempts=link.attempts + by) for link in sight.links)
    return replace(sight, links=links, answers=sight.answers + by)


def stuck_after(make: object, seconds: int) -> str:
    """The verdict after looking once a second."""
    progress = Progress(0.0)
    verdict = ""
    for now in range(seconds + 1):
        verdict = progress.stuck(make(now), float(now))  # type: ignore[operator]
    return verdict


def test_a_board_that_gets_on_is_well_for_ever() -> None:
    progress = Progress(0.0)
    assert {progress.stuck(later(WELL, now // 5), float(now)) for now in range(600)} == {""}


def test_a_connected_link_must_hear_from_its_broker() -> None:
    def silent(now: int) -> Sight:
        sight = later(WELL, now)
        return replace(sight, links=(WELL.links[0], sight.links[1]))

    assert stuck_after(silent, int(LINK_S)) == ""
    assert stuck_after(silent, int(LINK_S) + 2) == f"link control: no answer of the broker for {LINK_S + 2:.0f} s"


def test_a_disconnected_link_must_try_again() -> None:
    def trying(now: int) -> Sight:
        return replace(later(WELL, now), links=(LinkSight("control", False, 7, now // 10),))

    def idle(now: int) -> Sight:
        return replace(later(WELL, now), links=(LinkSight("control", False, now, 3),))

    assert stuck_after(trying, 600) == ""
    assert stuck_after(idle, int(LINK_S) + 2) == f"link control: no attempt to connect for {LINK_S + 2:.0f} s"


def test_a_job_has_a_limit() -> None:
    assert stuck_after(lambda now: replace(later(WELL, now), busy=(("disk", JOB_S - 1),)), 1) == ""
    said = stuck_after(lambda now: replace(later(WELL, now), busy=(("disk", JOB_S + 1),)), 1)
    assert said == "a job on the disk runs for 121 s"


def test_the_fabric_must_answer_unless_it_is_at_work() -> None:
    def silent(now: int) -> Sight:
        return replace(later(WELL, now), answers=0)

    assert stuck_after(silent, int(ANSWER_S)) == ""
    assert "the fabric has not answered for" in stuck_after(silent, int(ANSWER_S) + 1)
    # The question waits behind a job, whose own limit is longer.
    assert stuck_after(lambda now: replace(silent(now), busy=(("fabric", 100.0),)), int(ANSWER_S) + 30) == ""


def test_a_fabric_that_answers_wrongly_is_stuck_however_busy_it_is() -> None:
    def wrong(now: int) -> Sight:
        return replace(later(WELL, now), answers=3, busy=(("fabric", 0.1),), refusal="answers 0xDEAD")

    assert stuck_after(wrong, int(ANSWER_S) + 1).endswith(": answers 0xDEAD")


def test_everything_that_stands_still_is_named() -> None:
    verdict = stuck_after(lambda now: replace(WELL, busy=(("fabric", 500.0),)), 200)
    assert verdict.count(";") == 2
    assert "control" in verdict
    assert "bulk" in verdict
    assert "fabric" in verdict


def test_what_gets_on_again_is_well_again() -> None:
    progress = Progress(0.0)
    progress.stuck(WELL, 0.0)
    assert progress.stuck(WELL, LINK_S + 1)
    assert progress.stuck(later(WELL, 1), LINK_S + 2) == ""
