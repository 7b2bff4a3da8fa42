"""Figures of nothing, where tests do not look at them: drawing takes longer than all else that a report does."""

from __future__ import annotations

import pytest


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    nothing = {"svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9pt" viewBox="0 0 9 9"/>', "png": b""}
    for module in ("predictd.report.sections", "predictd.workflows.evaluation.factors"):
        patch.setattr(f"{module}.rendered", lambda _draw: nothing)
