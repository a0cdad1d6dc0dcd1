"""What Ansible prints of devices: into the log with nothing hidden, and never more than there is room for."""

from __future__ import annotations

import io

from edgepose.host.deploy.fleet.rollout import AnsibleLines


def test_lines_come_whole_from_pieces_and_are_shown_with_nothing_hidden() -> None:
    log, said = io.StringIO(), []
    lines = AnsibleLines(log, said.append)
    text = "PLAY\nchanged: [d0]\nfatal: [d1]: x\x1b[2J\rend\nd0 : ok=2\n"
    for start in range(0, len(text), 7):
        lines.take(text[start : start + 7].encode())
    assert said == ["changed: [d0]", "fatal: [d1]: x\x1b[2J\rend"]
    assert list(lines.newest)[-1] == "d0 : ok=2"
    assert log.getvalue() == "PLAY\nchanged: [d0]\nfatal: [d1]: x\\x1b[2J\\rend\nd0 : ok=2\n"


def test_a_line_without_end_is_cut_and_an_endless_log_stops() -> None:
    log = io.StringIO()
    lines = AnsibleLines(log, lambda _line: None)
    for _ in range(68):
        lines.take(b"x" * (1 << 20))
    assert len(log.getvalue()) < 70 << 20
    assert max(map(len, lines.newest)) <= 500
