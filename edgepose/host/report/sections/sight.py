"""What the model sees: frames with skeletons."""

from __future__ import annotations

import base64

from edgepose.host.report.markup import Markup, element, joined, paragraph
from edgepose.host.report.material import PosedPicture, ReportMaterial


def section(material: ReportMaterial) -> Markup | None:
    """The part; None where no pictures were asked for."""
    sight = material.sight
    if sight is None:
        return None
    said = (
        f"{sight.video}: somebody was found in {sight.frames_with_poses} of {sight.frames} frames "
        f"({sight.poses}). "
    )
    if not sight.pictures:
        return paragraph(f"{said}There is no frame to show.")
    said += (
        "These are spread evenly among them, not chosen by quality. Left of the body is orange, right is "
        "blue; keypoints with a score under 0.2 are not drawn. This page shows whoever is in the video: pass "
        "it on only where that is allowed."
    )
    shown = element("div", *map(_picture, sight.pictures), class_="pictures")
    return joined(paragraph(said), shown)


def _picture(picture: PosedPicture) -> Markup:
    persons = f"{picture.persons} person{'' if picture.persons == 1 else 's'}"
    image = element(
        "img",
        src=f"data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}",
        alt=f"Frame {picture.frame} with the skeletons of {persons}",
        width=str(picture.size_wh[0]),
        height=str(picture.size_wh[1]),
    )
    return element("figure", image, element("figcaption", f"Frame {picture.frame}, {persons}"))
