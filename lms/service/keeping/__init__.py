"""What a Migration Authority accepts, keeps, rewraps and retires (PROTOCOL §5, §6, §7)."""

from lms.service.keeping.keeper import Keeper
from lms.service.keeping.setting import AuthoritySetting, Limits

__all__ = ["AuthoritySetting", "Keeper", "Limits"]
