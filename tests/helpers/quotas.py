"""What pages of AWS have their readers ask for, held against botocore's description of Service Quotas."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from aws_cloud import problems

_COMMAND = re.compile(r"aws service-quotas request-service-quota-increase[^`\n#]*")


def requests(page: Path) -> list[tuple[str, str, int]]:
    """The quotas that a page has its reader ask for: service, code, and how much."""
    found = []
    for command in _COMMAND.findall(page.read_text(encoding="utf-8")):
        words = shlex.split(command)[3:]
        given = dict(zip(words[::2], words[1::2], strict=True))
        sent: dict[str, Any] = {
            "ServiceCode": given.pop("--service-code"),
            "QuotaCode": given.pop("--quota-code"),
            "DesiredValue": float(given.pop("--desired-value")),
        }
        assert not given and problems("service-quotas", "RequestServiceQuotaIncrease", sent) == []
        found.append((sent["ServiceCode"], sent["QuotaCode"], int(sent["DesiredValue"])))
    return found
