"""How teacher and labels share a target."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edgepose.host.distill.batches import (
    BatchSettings,
    BatchSource,
    TargetSettings,
    blend,
    label_trust,
    sampling_chances,
)
from edgepose.host.distill.students import STUDENT_SKELETON
from edgepose.host.distill.training import learning_rate
from tests.support.distill_samples import TINY, sample_cache

BOX = np.array([0.0, 0.0, 100.0, 200.0])
POINTS = np.full((17, 2), 50.0)
SEEN = np.ones(17, bool)


def test_labels_that_a_confident_teacher_disputes_are_believed_less() -> None:
    teacher = POINTS.copy()
    teacher[3] += 60
    trust = label_trust(POINTS, SEEN, teacher, np.full(17, 0.9), BOX, STUDENT_SKELETON)
    assert trust[3] < 0.5
    assert np.all(np.delete(trust, 3) == 1)


def test_a_doubtful_teacher_disputes_nothing() -> None:
    trust = label_trust(POINTS, SEEN, POINTS + 60, np.full(17, 0.2), BOX, STUDENT_SKELETON)
    assert np.all(trust == 1)


def test_missing_labels_are_not_believed() -> None:
    labelled = np.arange(17) < 5
    trust = label_trust(POINTS, labelled, POINTS, np.full(17, 0.9), BOX, STUDENT_SKELETON)
    assert np.array_equal(trust > 0, labelled)


def test_without_a_label_the_target_is_the_teachers_alone() -> None:
    soft, hard = np.full((2, 2, 17), 0.6, np.float32), np.zeros((2, 2, 17), np.float32)
    trust = np.zeros(17, np.float32)
    target = blend(soft, hard, trust, np.full(17, 0.5), TargetSettings())
    assert np.allclose(target.maps, 0.6)
    assert np.all((target.weights > 0.4) & (target.weights < 1))


def test_without_a_teacher_only_labelled_keypoints_weigh() -> None:
    hard = np.ones((2, 2, 17), np.float32)
    trust = np.arange(17, dtype=np.float32) % 2
    target = blend(None, hard, trust, np.zeros(17), TargetSettings())
    assert np.array_equal(target.weights, trust)


def test_batches_of_labels_alone_carry_weight_only_where_there_are_labels() -> None:
    cache = sample_cache(teacher=False)
    cache.labelled[:, 4] = False
    batch = BatchSource(cache, TINY, BatchSettings(8, 0)).batch(0)
    weights = batch.targets[:, 0]
    # Keypoint 4 and its mirror image 3 carry each other's labels in mirrored views.
    assert np.all((weights[:, 3] == 0) | (weights[:, 4] == 0))
    assert np.all(weights[:, 0] == 1)


def test_small_folders_are_drawn_more_often_than_their_share_and_less_than_evenly() -> None:
    chances = sampling_chances(np.array([0] * 100 + [1] * 900))
    assert np.isclose(chances.sum(), 1)
    assert np.isclose(chances[:100].sum(), 0.25)


def test_the_rate_warms_up_and_falls_to_almost_nothing() -> None:
    rates = [learning_rate(progress / 100, 1.0) for progress in range(101)]
    assert rates[0] < 0.02
    assert max(rates) > 0.99
    assert np.argmax(rates) == 3
    assert all(later <= earlier for earlier, later in pairwise(rates[3:]))
    assert 0 < rates[-1] < 0.01
    assert learning_rate(1.5, 1.0) == rates[-1]
