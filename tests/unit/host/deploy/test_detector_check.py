"""A converted detector passes when it finds the same persons, or is as good by the labels."""

from __future__ import annotations

import pytest

from edgepose.errors import GateFailedError
from edgepose.host.deploy.judgement import (
    BoxLoss,
    DetectorAgreement,
    require_accuracy,
    require_agreement,
)

APART = DetectorAgreement(share=0.9, parent_boxes=100, shipped_boxes=98, pictures=40)


def test_the_same_persons_pass() -> None:
    same = DetectorAgreement(share=0.95, parent_boxes=100, shipped_boxes=100, pictures=40)
    assert same.reached
    require_agreement(same, "d")


def test_other_persons_fail_without_labels() -> None:
    assert not APART.reached
    with pytest.raises(GateFailedError, match="finds other persons"):
        require_agreement(APART, "d")


def test_nobody_to_compare_on_is_no_pass() -> None:
    nobody = DetectorAgreement(share=None, parent_boxes=0, shipped_boxes=0, pictures=40)
    assert not nobody.reached
    with pytest.raises(GateFailedError, match="finds nobody"):
        require_agreement(nobody, "d")


@pytest.mark.parametrize(("shipped", "passes"), [(0.26, True), (0.2401, True), (0.2399, False)])
def test_labels_decide_where_the_persons_differ(shipped: float, passes: bool) -> None:
    loss = BoxLoss(parent_ap=0.26, shipped_ap=shipped, allowed=0.02, persons=103)
    assert loss.passed is passes
    if not passes:
        with pytest.raises(GateFailedError, match="worse by the labels"):
            require_accuracy(loss, APART, "d")
    else:
        require_accuracy(loss, APART, "d")
