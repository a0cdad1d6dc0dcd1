"""What the maintainers say in a model card: ``NOTES.toml``. Figures are not among it, they are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from edgepose.records.record import Record, read_toml

Sentence = Annotated[str, msgspec.Meta(min_length=1)]


class TrainingSource(Record, frozen=True, kw_only=True):
    """Where training images came from.

    Attributes:
        name: Name of the data set.
        licence: SPDX identifier, or the name of its terms.
        terms: What that means for who uses the weights, in a sentence.
    """

    name: Sentence
    licence: Sentence
    terms: Sentence


class EvaluationSource(Record, frozen=True, kw_only=True):
    """The name of labelled images, which a record knows by their digest alone.

    Attributes:
        digest: ``dataset.digest`` of the evaluation.
        name: Name of the data set, and which part of it.
    """

    digest: Sentence
    name: Sentence


class ModelCardNotes(Record, frozen=True, kw_only=True):
    """What no measurement can say.

    Attributes:
        title: Heading of the card.
        intended_use: What the model is for.
        not_for: What it is not fit for, a sentence each.
        training_data: Sources of the training images.
        evaluation_data: Names of the labelled images.
        weights_licence: Terms of the weights, apart from those of the code.
        known_failures: Failures that were seen, a sentence each.
        command: The commands that made the files, exactly, in their order.
    """

    title: Sentence
    intended_use: Sentence
    not_for: tuple[Sentence, ...] = ()
    training_data: tuple[TrainingSource, ...] = ()
    evaluation_data: tuple[EvaluationSource, ...] = ()
    weights_licence: Sentence | None = None
    known_failures: tuple[Sentence, ...] = ()
    command: tuple[Sentence, ...] = ()


def read_notes(path: Path) -> ModelCardNotes:
    """Reads the notes.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or holds another field than these.
    """
    return read_toml(path, ModelCardNotes)
