"""What a model tells about pictures: preprocessing, stability of ranges, poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.model_persons import persons_seen, sampled
from edgepose.host.data.audit.picture_facts import PictureFacts
from edgepose.host.data.audit.preprocess_parity import check_parity
from edgepose.host.data.audit.range_stability import MAX_CROPS_EACH, range_stability
from edgepose.host.data.audit.request import AuditRequest
from edgepose.host.data.calibration_set import CropSample
from edgepose.host.data.data_folder import DataFolder
from edgepose.inference.model_digest import sha256_of_model
from edgepose.inference.model_file import load_spec
from edgepose.inference.open_model import open_backend
from edgepose.inference.pipeline import PosePipeline
from edgepose.spec.data_audit import PreprocessParity, RangeStability


@dataclass(frozen=True, eq=False)
class ModelFindings:
    """What a model tells.

    Attributes:
        parity: Its preprocessing on these pictures.
        ranges: Stability of its activation ranges; None where one crop is all there is.
        persons: Who it sees in up to 200 pictures; empty where labels tell that.
        looked_at: Names of those pictures.
    """

    parity: PreprocessParity
    ranges: RangeStability | None
    persons: tuple[AuditedPerson, ...]
    looked_at: tuple[str, ...]


def ask_model(
    request: AuditRequest, folder: DataFolder, pictures: Sequence[PictureFacts]
) -> ModelFindings | None:
    """Runs the request's model; None where there is none.

    Raises:
        ConfigError: The model has no spec, or is a detector.
        ModelError: The model is damaged or disagrees with its spec.
        MissingDependencyError: Its runtime is not installed.
    """
    if request.model is None:
        return None
    spec = load_spec(request.model, request.spec_file)
    backend = open_backend(request.model)
    pipeline = PosePipeline(backend, spec)
    crops = _crops(folder, whole=not spec.uses_person_boxes)
    labelled = any(image.person_boxes_xyxy_px for image in folder.images)
    looked_at = [] if labelled else sampled([picture for picture in pictures if not picture.is_flat])
    return ModelFindings(
        parity=check_parity(backend, spec.input, crops, sha256_of_model(request.model)),
        ranges=range_stability(request.model, backend, spec.input, crops, request.seed),
        persons=tuple(persons_seen(pipeline, looked_at)),
        looked_at=tuple(picture.path.name for picture in looked_at),
    )


def _crops(folder: DataFolder, *, whole: bool) -> list[CropSample]:
    """One crop a picture, by the order of the digests: labelled persons where there are any."""
    images = sorted({image.sha256: image for image in folder.images}.values(), key=lambda image: image.sha256)
    boxes = [image.person_boxes_xyxy_px or () for image in images]
    if whole or not any(boxes):
        chosen = [CropSample(image.path, image.sha256, None) for image in images]
    else:
        chosen = [
            CropSample(image.path, image.sha256, inside[0])
            for image, inside in zip(images, boxes, strict=True)
            if inside
        ]
    return chosen[: 2 * MAX_CROPS_EACH]
