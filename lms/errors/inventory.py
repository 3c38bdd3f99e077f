"""What is bound to the TPM would not survive it."""

from __future__ import annotations

from lms.errors.base import Blame, LmsError


class WouldBeLost(LmsError):
    blame = Blame.STATE
    hint = "do first what stands beside each thing, look at what is unseen; run `lmsctl doctor` again"
