"""Builds the service and its adapters from a configuration."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from uuid import UUID

from cryptography import x509

from lms.adapters.opener import OpenerProcess
from lms.adapters.store import ArchiveDirectory, RecoveryDirectory, StateDirectory
from lms.adapters.tpm import TpmDevice
from lms.config import Configuration
from lms.errors import BadConfiguration, FileProblem
from lms.files import files_of, is_directory, locked, read_file
from lms.model.owner import Owner
from lms.model.secret import Secret
from lms.model.trust import TrustList
from lms.ports import RemoteAuthority
from lms.service.setting import Setting

_MAX_PEM = 1024 * 1024


def utc_now() -> datetime:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def ca_certificates(configuration: Configuration, key: str) -> list[x509.Certificate]:
    """CA certificates in the PEM files of a key of the configuration, or in directories of them.

    Raises BadConfiguration, with file, line and key.
    """
    paths: tuple[Path, ...] = attrgetter(key)(configuration)
    found = []
    try:
        for path in paths:
            for file in files_of(path, ".pem") if is_directory(path) else [path]:
                found += _certificates_in(file)
    except (FileProblem, ValueError) as error:
        raise BadConfiguration(f"cannot accept {configuration.where(key)}: {error}") from None
    return found


def _certificates_in(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(read_file(file, _MAX_PEM))
    except ValueError:
        raise ValueError(f"'{file}' holds no CA certificates") from None


def _connect(address: str, ma_id: UUID, owner: Owner, trust_list: TrustList | None) -> RemoteAuthority:
    from lms.adapters.authority import AuthorityClient  # the SOAP library is large, and most acts need none

    return AuthorityClient(address, ma_id, owner, trust_list)


@contextmanager
def assembled(configuration: Configuration, endorsement_auth: Secret) -> Iterator[Setting]:
    """A platform's setting: alone on its state directory, with the TPM open. Raises Busy and the TPM's errors."""
    certificates = ca_certificates(configuration, "ek_roots")
    with (
        locked(configuration.state_directory),
        TpmDevice(configuration.tcti, endorsement_auth=endorsement_auth) as tpm,
    ):
        yield Setting(
            tpm=tpm,
            store=StateDirectory(configuration.state_directory),
            archives=tuple(ArchiveDirectory(path) for path in configuration.archives),
            now=utc_now,
            host_name=socket.gethostname(),
            opener=OpenerProcess,
            connect=_connect,
            recovery=None if configuration.recovery is None else RecoveryDirectory(configuration.recovery),
            algorithm=configuration.algorithm,
            srk_handle=configuration.srk_handle,
            drsk_handle=configuration.drsk_handle,
            ek_roots=tuple(c for c in certificates if c.issuer == c.subject),
            ek_intermediates=tuple(c for c in certificates if c.issuer != c.subject),
        )
