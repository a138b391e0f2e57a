"""The pages of models: every version, who holds it and whether it may run; one version's images; the artifacts."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from convoy_schema.bundle import Bundle
from convoy_schema.messages.boards import Phase
from nicegui import ui
from starlette.requests import Request

from convoy_controller.dashboard import model_sight
from convoy_controller.dashboard.layout import frame
from convoy_controller.dashboard.model_sight import ARTIFACTS, ModelSight, VersionSight
from convoy_controller.dashboard.parts import Sign, bytes_text, date_text, text
from convoy_controller.dashboard.table import (
    Column,
    Part,
    Row,
    Table,
    board_link,
    deployment_link,
    link,
    progress,
    state,
    words,
)
from convoy_controller.database.records import BoardPresence
from convoy_controller.database.views import ArtifactLine, ReplicaLine

PATH = "/models"
VERSION_PATH = "/models/{model}/{version}"
#: Seconds between looks at the keys, which floors are read from and which no mark tells of.
FLOORS_S = 5.0
MODEL_COLUMNS = (
    Column("Model"),
    Column("State"),
    Column("Methods", always=False),
    Column("Size"),
    Column("On boards"),
    Column("Imported", always=False),
)
ARTIFACT_COLUMNS = (
    Column("Artifact"),
    Column("Kind"),
    Column("Size", always=False),
    Column("As it travels"),
    Column("Since", always=False),
)
IMAGE_COLUMNS = (Column("Shell"), Column("Part"), Column("Shell's image"), Column("Modules", always=False))
HOLDER_COLUMNS = (Column("Board"), Column("Deployment"), Column("State"), Column("Fetched", always=False))
EMPTY = "No model is there yet. `convoy model import FILE.onnx --calibration FILE.npz` brings one."


def model_sign(sight: ModelSight) -> tuple[Sign, str]:
    """Whether a version may run, and does."""
    if sight.is_revoked:
        return Sign("■", "bad"), f"revoked: below the floor, {sight.floor}"
    if sight.deployments:
        return Sign("●", "good"), "in use"
    return Sign("○", "quiet"), "not deployed"


def model_row(sight: ModelSight) -> Row:
    """A version in the list."""
    line = sight.line
    href = f"/models/{quote(line.model, safe='')}/{quote(line.version, safe='')}"
    sign, word = model_sign(sight)
    on_boards: list[Part] = []
    for each in sight.deployments:
        on_boards += deployment_link(each.deployment)
        on_boards.append(words(f": {each.ready_boards} of {each.assigned_boards} ready"))
    return Row(
        f"{line.model} {line.version}",
        (
            [link(f"{line.model} {line.version}", href), words(f"serial {line.serial}", block=True)],
            [state(sign, word)],
            ", ".join(line.methods),
            f"{bytes_text(line.bytes)} in {line.artifacts} artifacts, {bytes_text(line.packed_bytes)} as it travels",
            on_boards,
            date_text(line.imported_at),
        ),
    )


def artifact_row(line: ArtifactLine) -> Row:
    """An artifact of the store."""
    sizes = (bytes_text(line.size), bytes_text(line.packed_size))
    return Row(line.digest, (line.digest[:10], line.kind.value, *sizes, date_text(line.created_at)))


def image_rows(bundle: Bundle) -> list[Row]:
    """For each shell and part: its image, and how many modules of which kinds there are for its partitions."""
    rows = []
    for image in bundle.shells:
        modules = [each for each in bundle.modules if (each.shell, each.part) == (image.shell, image.part)]
        kinds = sorted({each.kind.value for each in modules})
        places = sorted({each.partition for each in modules})
        told = (
            f"{len(modules)}: {', '.join(kinds)}, each for {', '.join(places)}"
            if modules
            else "none, it has no partitions"
        )
        rows.append(Row(f"{image.shell} {image.part}", (image.shell, image.part, image.digest[:12], told)))
    return rows


def holder_row(deployment: str, stage: int, replica: ReplicaLine) -> Row:
    """A board that is to hold a version, and how far it is."""
    if replica.presence is not BoardPresence.ONLINE:
        told = state(Sign("✕", "bad"), replica.presence.value)
    elif replica.phase is Phase.READY:
        told = state(Sign("●", "good"), "ready")
    else:
        told = state(Sign("■", "bad") if replica.phase is Phase.FAILED else Sign("◔", "busy"), replica.phase.value)
    fetched: list[Part] = []
    if replica.total_bytes:
        far = f"{bytes_text(replica.done_bytes)} of {bytes_text(replica.total_bytes)}"
        fetched = [progress(replica.done_bytes, replica.total_bytes, f"Fetched: {far}"), words(far)]
    place = [*deployment_link(deployment), words(f" stage {stage + 1}")]
    return Row(f"{deployment} {stage} {replica.board}", (board_link(replica.board), place, [told], fetched))


async def models(request: Request) -> None:
    """Every version, and the artifacts of all."""
    with frame(request, "Models and artifacts", PATH) as view:
        home = view.visit.context.home
        versions = Table(MODEL_COLUMNS, "Model versions, the newest of each first", EMPTY)
        text("h2", "Artifacts")
        told = text("p").classes("convoy-quiet")
        store = Table(ARTIFACT_COLUMNS, "Artifacts, by digest", "The store is empty.")

        def show(sights: tuple[ModelSight, ...]) -> None:
            versions.show(map(model_row, sights))

        def show_artifacts(lines: tuple[ArtifactLine, ...]) -> None:
            shown = lines[:ARTIFACTS]
            size = bytes_text(sum(line.packed_size for line in shown))
            more = "; there are more: `convoy artifacts` lists all" if len(lines) > ARTIFACTS else ""
            told.text = f"{len(shown)} artifacts, {size} as they travel{more}." if shown else ""
            store.show(map(artifact_row, shown))

        kinds = {"models", "deployments", "generations"}
        await view.keep(partial(model_sight.models, view.database, home), show, on=kinds, every_s=FLOORS_S)
        await view.keep(partial(model_sight.artifacts, view.database), show_artifacts, on={"models"}, every_s=FLOORS_S)


async def version(request: Request, model: str, version: str) -> None:
    """One version: whether it may run, its images for each shell, and the boards that are to hold it."""
    path = f"/models/{quote(model, safe='')}/{quote(version, safe='')}"
    with frame(request, f"{model} {version}", path) as view:
        home = view.visit.context.home
        with text("p"):
            sign = text("span").classes("convoy-sign")
            told = text("span")
        text("h2", "Who holds it")
        holders = Table(HOLDER_COLUMNS, "Boards that are to hold it", "No board holds it for a deployment.")
        text("h2", "Images for each shell")
        images = Table(IMAGE_COLUMNS, "Images for each shell and part", "It was published without images.")

        def show(found: VersionSight | None) -> None:
            sign.set_visibility(found is not None)
            if found is None:
                told.text = f"There is no version {version} of {model}: `convoy models` lists those there are."
                holders.show(())
                images.show(())
                return
            line, (look, word) = found.model.line, model_sign(found.model)
            sign.text = f"{look.glyph} {word}"
            sign.classes(replace=f"convoy-sign {look.tone}")
            shape = " x ".join(map(str, line.input_shape))
            told.text = f" serial {line.serial}, {line.layers} layers, input {shape}; bundle {line.digest[:12]}"
            holders.show(holder_row(*each) for each in found.holders)
            images.show(image_rows(found.bundle))

        read = partial(model_sight.version, view.database, home, model, version)
        await view.keep(read, show, on={"models", "deployments", "generations", "boards"}, every_s=FLOORS_S)


def register() -> None:
    """Tell NiceGUI of them."""
    ui.page(PATH, title="Models and artifacts · Convoy", response_timeout=20)(models)
    ui.page(VERSION_PATH, response_timeout=20)(version)
