"""Policy digests equal those of trial sessions, and a real session walks each branch."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import TPM2_CC, TPM2_RH, TPM2_SE, TPM2_ST
from tpm2_pytss.types import TPMT_TK_VERIFIED

from lms.model.keys import Algorithm
from lms.model.policies import POLICY_REF, Branch, BranchKind, DuplicationPolicy
from lms.wire.tpm import policy
from lms.wire.tpm.public import approval_public, drsk_template, name_of, recovery_public, srk_template
from lms.wire.tpm.signature import sign_digest
from lms.wire.tpm.wrap import unwrap_inner, unwrap_outer
from tests.wire.tpm.samples import NAME, OTHER_NAME


def trial(bench, *steps):
    with bench.session(TPM2_SE.TRIAL) as session:
        for step in steps:
            step(session)
        return bench.policy_digest(session)


def authorized(bench, name, ref=POLICY_REF):
    ticket = TPMT_TK_VERIFIED(tag=TPM2_ST.VERIFIED, hierarchy=TPM2_RH.OWNER)
    return lambda session: bench.tpm.policy_authorize(session, b"", bytes(name), ticket, ref)


def selected(bench, parent, key=None):
    return lambda session: bench.tpm.policy_duplication_select(
        session, bytes(key or b""), bytes(parent), key is not None
    )


def test_single_assertions(bench):
    assert policy.command_code(policy.CC_DUPLICATE) == trial(
        bench, lambda s: bench.tpm.policy_command_code(s, TPM2_CC.Duplicate)
    )
    assert policy.auth_value() == trial(bench, bench.tpm.policy_auth_value)
    assert trial(bench, bench.secret_owner) == policy.OWNER_AUTHORISED
    assert policy.duplication_select(NAME) == trial(bench, selected(bench, NAME))
    assert policy.duplication_select(NAME, OTHER_NAME) == trial(bench, selected(bench, NAME, OTHER_NAME))
    assert policy.authorize(NAME, POLICY_REF) == trial(bench, authorized(bench, NAME))
    assert policy.authorize(NAME, b"") == trial(bench, authorized(bench, NAME, b""))


def test_policies_of_mk(bench):
    code = lambda s: bench.tpm.policy_command_code(s, TPM2_CC.Duplicate)  # noqa: E731
    assert trial(bench, code, bench.tpm.policy_auth_value, bench.secret_owner) == policy.MK_POLICY
    assert trial(bench, code, bench.secret_owner) == policy.ADOPTED_OWNER_POLICY


@pytest.mark.parametrize(("roots", "offline"), [(1, 0), (1, 1), (2, 0), (4, 3)])
def test_duplication_policies(bench, roots, offline):
    names = [name_of(approval_public(ec.derive_private_key(i + 1, ec.SECP256R1()).public_key())) for i in range(7)]
    wanted = DuplicationPolicy.of(tuple(names[:roots]), tuple(names[roots : roots + offline]))
    digests = []
    for name in sorted(names[:roots]):
        digests.append(trial(bench, authorized(bench, name), bench.secret_owner))
    for name in sorted(names[roots : roots + offline]):
        digests.append(trial(bench, selected(bench, name), bench.secret_owner))
    assert policy.branch_digests(wanted) == tuple(digests)
    if len(digests) == 1:
        assert policy.duplication_policy_digest(wanted) == digests[0]
    else:
        whole = trial(bench, lambda s: bench.policy_or(s, tuple(digests)))
        assert policy.duplication_policy_digest(wanted) == whole


@pytest.mark.parametrize("count", [0, 1, 9])
def test_policy_or_takes_2_to_8(count):
    with pytest.raises(ValueError, match="2 to 8"):
        policy.policy_or([bytes(32)] * count)


def duplicated(bench, branches, branch, destination, approve):
    """Duplicate a fresh DRSK to `destination` through `branch`; all digests are computed by us."""
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, _):
        wanted = policy.duplication_policy_digest(branches)
        key = bench.create(srk, drsk_template(Algorithm.ECC_P256, wanted))
        with bench.loaded(srk, key) as drsk, bench.session() as session:
            name = name_of(key.public)
            bench.tpm.policy_duplication_select(session, bytes(name), bytes(name_of(destination)), False)
            if branch.kind is BranchKind.APPROVAL:
                approve(session)
            bench.secret_owner(session)
            bench.policy_or(session, policy.branch_digests(branches))
            assert bench.policy_digest(session) == wanted
            with bench.external(destination) as parent:
                return name, bench.duplicate(drsk, parent, session)


def test_both_branches_let_a_drsk_out_to_the_token(bench):
    root, recovery = (ec.generate_private_key(ec.SECP256R1()) for _ in "12")
    root_public, destination = approval_public(root.public_key()), recovery_public(recovery.public_key())
    branches = DuplicationPolicy.of((name_of(root_public),), (name_of(destination),))
    approved = policy.duplication_select(name_of(destination))
    signature = sign_digest(root, policy.approval_digest(approved, POLICY_REF))

    def approve(session):
        ticket = bench.verify(root_public, policy.approval_digest(approved), signature)
        bench.tpm.policy_authorize(session, approved, bytes(name_of(root_public)), ticket, POLICY_REF)

    for branch in branches.branches:
        name, (inner_key, outer) = duplicated(bench, branches, branch, destination, approve)
        unwrap_inner(unwrap_outer(recovery, destination, name, outer), name, inner_key)


def test_offline_branch_leads_nowhere_else(bench):
    root, recovery, thief = (ec.generate_private_key(ec.SECP256R1()) for _ in "123")
    offline = Branch(BranchKind.OFFLINE, name_of(recovery_public(recovery.public_key())))
    branches = DuplicationPolicy.of((name_of(approval_public(root.public_key())),), (offline.name,))
    with pytest.raises(TSS2_Exception):
        duplicated(bench, branches, offline, recovery_public(thief.public_key()), None)
