"""A platform with owner authorisation, SRK and DRSK, and the owner who lets its keys out."""

from __future__ import annotations

import socket
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import ESAPI

from lms.adapters.channel import Channel, endpoint_for
from lms.adapters.tpm import TpmDevice
from lms.adapters.tpm.tcti import ChannelTcti
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.packages import MsaApproval
from lms.model.policies import POLICY_REF, Branch, BranchKind, DuplicationPolicy
from lms.model.secret import Secret
from lms.wire.tpm.policy import approval_digest, duplication_policy_digest, duplication_select
from lms.wire.tpm.public import Attributes, approval_public, drsk_template, name_of, recovery_public, sealed_template
from lms.wire.tpm.signature import sign_digest

NOTHING = Secret(b"")
OWNER = Secret(b"the owner authorisation")
PROBE = sealed_template(Attributes.USER_WITH_AUTH | Attributes.NO_DA)


class Msa:
    """An approval key in software."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = approval_public(self.key.public_key())
        self.name = name_of(self.public)
        self.branch = Branch(BranchKind.APPROVAL, self.name)

    def approve(self, policy: bytes) -> MsaApproval:
        """Sign any policy."""
        return MsaApproval(self.public, policy, POLICY_REF, sign_digest(self.key, approval_digest(policy)))

    def approve_parent(self, new_parent: bytes, key: bytes | None = None) -> tuple[MsaApproval, ...]:
        """Approve a destination; with `key` (TPM2B_PUBLIC) for this key only."""
        return (self.approve(duplication_select(name_of(new_parent), name_of(key) if key else None)),)


class RecoveryKey:
    """A storage key in software."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = recovery_public(self.key.public_key())
        self.name = name_of(self.public)
        self.branch = Branch(BranchKind.OFFLINE, self.name)


class Platform:
    """`algorithm` of SRK and DRSK; `settings` are those of `TpmDevice`."""

    def __init__(self, machine, algorithm=Algorithm.ECC_P256, **settings) -> None:
        self.machine = machine
        self.algorithm = algorithm
        self.tpm = TpmDevice(machine.tcti, **settings)
        self.tpm.trust_salt(name_of(self.tpm.endorsement_keys()[1].public))
        self.tpm.set_owner_auth(NOTHING, OWNER)
        self.srk = self.tpm.ensure_srk(SRK_HANDLE, algorithm, OWNER)
        self.tpm.trust_salt(name_of(self.srk))
        self.msa = Msa()
        self.recovery = RecoveryKey()
        self.policy = DuplicationPolicy.of((self.msa.name,), (self.recovery.name,))
        self.drsk = b""

    def make_drsk(self, policy: DuplicationPolicy | None = None):
        """Create and persist a DRSK; what `create_certified` gave."""
        self.policy = policy or self.policy
        template = drsk_template(self.algorithm, duplication_policy_digest(self.policy))
        made = self.tpm.create_certified(SRK_HANDLE, template)
        self.tpm.persist(SRK_HANDLE, made.key, DRSK_HANDLE, OWNER)
        self.drsk = made.key.public
        return made

    def duplicate(self, new_parent: bytes, branch: Branch, approvals=(), owner_auth=OWNER):
        """Duplicate the DRSK."""
        return self.tpm.duplicate(DRSK_HANDLE, new_parent, self.policy, branch, approvals, owner_auth)


@contextmanager
def plain_esapi(tcti: str, observe=None):
    """ESAPI past the adapter, for what it does not do."""
    channel = Channel(endpoint_for(tcti), 30, observe)
    esapi = ESAPI(ChannelTcti(channel))
    try:
        yield esapi
    finally:
        esapi.close()
        channel.shut()


def forget_startup(machine) -> None:
    """Reset the TPM in its running process: the next command finds it without TPM2_Startup (CMD_INIT of swtpm)."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(machine.control))
        control.sendall(bytes.fromhex("0000000200000000"))
        assert control.recv(4) == bytes(4)
