"""A key of the kernel is not as it has to be."""

from __future__ import annotations

from lms.errors.base import Blame, LmsError


class KernelLacks(LmsError):
    blame = Blame.STATE
    hint = (
        "use a kernel that has it (CONFIG_TRUSTED_KEYS, CONFIG_ENCRYPTED_KEYS, CONFIG_EVM); without trusted keys "
        "`lmsctl evm create --master user` needs none"
    )


class KernelRefused(LmsError):
    blame = Blame.STATE
    hint = "run as root, in a unit with KeyringMode=shared; see the kernel's messages, and the journal"


class KeyringOccupied(LmsError):
    blame = Blame.STATE
    hint = "remove that key (keyctl unlink), or start the machine anew; then `lmsctl evm load`"


class EvmKeyAbsent(LmsError):
    blame = Blame.STATE
    hint = (
        "say where it lies, `--directory`, or make one: `lmsctl evm create`; after a lost disk `lmsctl restore` brings "
        "back what packages carry"
    )


class EvmKeyLost(LmsError):
    blame = Blame.STATE
    hint = "bring it back with `lmsctl evm load`, or make another one with `lmsctl evm create --replace`"


class EvmKeyOther(LmsError):
    blame = Blame.STATE
    hint = (
        "keep it, if files were labelled with it; `lmsctl evm create --replace` puts it aside, and all files have to "
        "be labelled anew"
    )


class EvmKeyDamaged(LmsError):
    blame = Blame.STATE
    hint = "remove the file; `lmsctl evm load` brings back what is registered"
