"""What every test stands on: no deadline of hypothesis, because a busy machine is no defect."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("TSS2_LOG", "all+none")
settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")
