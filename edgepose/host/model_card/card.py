"""A model card: what was measured, what the maintainers say, and what nobody knows yet.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting". No figure is written by hand: all
come from records, which belong to the card's files by their digests.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

from edgepose import __version__
from edgepose.host.model_card import accuracy, identity, rounding
from edgepose.host.model_card.detector import person_detector
from edgepose.host.model_card.failures import known_failures
from edgepose.host.model_card.figures import NOT_MEASURED
from edgepose.host.model_card.latency import latency
from edgepose.host.model_card.markdown import code, paragraph, text
from edgepose.host.model_card.material import CardMaterial
from edgepose.host.model_card.training_data import training_data

_METRICS = (
    "AP, AP50, AP75 and AR are COCO's, by object keypoint similarity (OKS), as fractions from 0 to 1. "
    "PCK@0.2 is the share of labelled keypoints that lie within 0.2 of the torso's length, left shoulder to "
    "right hip, or of the box's longer side where these are not labelled. Behind a figure stands its 95 % "
    "interval. Evaluations run through the code that runs on the device."
)
_FACTORS = (
    (
        "Slices: size of the person (small under 32^2, large from 96^2 square pixels), share of visible "
        "keypoints, overlap with others, brightness, blur. A slice has a figure only with enough persons."
    ),
    (
        f"Age, sex, skin tone, clothing, disability, place, camera: {NOT_MEASURED}; "
        "the records hold no such labels."
    ),
)


def render_card(material: CardMaterial) -> str:
    """The card as Markdown, the same text for the same material.

    Args:
        material: Model files with the records that belong to them.
    """
    title = ", ".join(model.file_name for model in material.models)
    if material.notes is not None:
        title = material.notes.title
    sections = (f"## {heading}\n\n{write(material)}" for heading, write in _SECTIONS)
    return "\n\n".join([f"# {text(title)}", *sections, "---", _last_line(material)]) + "\n"


def _factors(_material: CardMaterial) -> str:
    return "\n\n".join(map(paragraph, _FACTORS))


def _metrics(_material: CardMaterial) -> str:
    return paragraph(_METRICS)


def _analyses(material: CardMaterial) -> str:
    parts = [
        ("Accuracy", accuracy.overall(material)),
        ("Per keypoint", accuracy.per_keypoint(material)),
        ("Slices", accuracy.slices(material)),
        ("int8 against float", rounding.against_baselines(material)),
        ("Forms of one student", rounding.forms_of_one_student(material)),
        ("Latency", latency(material)),
    ]
    if material.detectors():
        parts.insert(1, ("Person detector", person_detector(material)))
    return "\n\n".join(f"### {heading}\n\n{body}" for heading, body in parts)


_SECTIONS: tuple[tuple[str, Callable[[CardMaterial], str]], ...] = (
    ("Model details", identity.details),
    ("Intended use", identity.intended_use),
    ("Factors", _factors),
    ("Metrics", _metrics),
    ("Evaluation data", accuracy.evaluation_data),
    ("Training data", training_data),
    ("Quantitative analyses", _analyses),
    ("Known failures", known_failures),
    ("Licences and their limits", identity.licences),
    ("How it was made", identity.how_it_was_made),
    ("Records", identity.records),
)


def _last_line(material: CardMaterial) -> str:
    command = code(shlex.join(_command(material)))
    return f"Generated from the records above by edgepose {__version__}: {command}"


def _command(material: CardMaterial) -> Iterator[str]:
    """File names without their folders: a folder is not what the card depends on."""
    yield from ("edgepose", "models", "card")
    yield from (model.file_name for model in material.models)
    for option, found in (
        ("--evaluation", material.evaluations),
        ("--evaluation", material.detector_evaluations),
        ("--benchmark", material.benchmarks),
        ("--distillation", material.distillations),
        ("--distillation", material.detector_distillations),
    ):
        for record in found:
            yield from (option, record.file_name)
    if material.notes_file is not None:
        yield from ("--notes", material.notes_file)
    yield from ("-o", "CARD.md")
