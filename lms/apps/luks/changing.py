"""One change of a header: whole, or undone; cut anywhere, the next verb on the volume brings it to an end.

What was added goes again as long as it is not proven; what has to go, goes on going. Tokens go before their slot, so
that the journal knows the slot to the end.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lms.apps.acts import Acts
from lms.apps.luks.header import Header, slots_of
from lms.apps.luks.ours import ITERATIONS, Found, known, ours
from lms.apps.luks.records import Known, OwnSlot, Plan, Records, Stage
from lms.apps.luks.registry import Registry
from lms.apps.luks.sealing import seal_passphrase, unseal_passphrase
from lms.apps.luks.token import Binding, Token, read_token, write_token
from lms.apps.luks.volume import Volume
from lms.errors import AnotherVolume, HeaderDamaged, LmsError, NotLuks2, OnlyTpmOpens, PassphraseRefused, TokenUseless
from lms.files import remove_file
from lms.model.secret import Secret


@dataclass(frozen=True, slots=True)
class Change:
    """A volume that nobody else changes meanwhile."""

    acts: Acts
    volume: Volume
    uuid: str
    records: Records
    registry: Registry

    @classmethod
    @contextmanager
    def of(cls, acts: Acts, path: Path, directory: Path) -> Iterator[Change]:
        """The volume at a path, when what was left half done is brought to its end.

        Raises Busy, NotLuks2, AnotherVolume and more.
        """
        with Volume.opened(path) as volume:
            fingerprint, uuid = volume.header().fingerprint, volume.uuid()
            with Records.of(directory, uuid) as (records, lock):
                change = cls(acts, replace(volume, kept=(lock,)), uuid, records, Registry(acts, uuid))
                change._require_known(fingerprint)
                change._finish()
                yield change

    def _require_known(self, fingerprint: str) -> None:
        plan = self.records.plan()
        known = {self.records.known().fingerprint, plan.fingerprint if plan else ""}
        if known - {"", fingerprint}:
            raise AnotherVolume(f"cannot use '{self.volume.path}': it has UUID {self.uuid}, and is another volume")

    def ours(self) -> tuple[Found, ...]:
        """The tokens that we made for their slots, as the registry or our own note says."""
        return ours(self.volume.header(), self._own())

    def _own(self) -> frozenset[tuple[int, str]]:
        return frozenset({*self.registry.names().items(), *self.records.known().names.items()})

    def person(self, ask: Callable[[], Secret]) -> Secret:
        """What opens a slot that no TPM opens; asked for where there is one. Raises OnlyTpmOpens, PassphraseRefused."""
        persons = self.volume.header().persons
        if not persons:
            raise OnlyTpmOpens(f"cannot change '{self.volume.path}': nothing but this machine's TPM opens it")
        passphrase = ask()
        if not any(self.volume.opens(slot, passphrase) for slot in persons):
            raise PassphraseRefused(f"cannot open '{self.volume.path}': no key slot of a person has this passphrase")
        return passphrase

    def prove(self, slot: int, token: Token, pin: Secret) -> None:
        """Open the slot by its token, and map nothing. Raises TokenUseless, PcrsDiffer, AuthFailed and more."""
        passphrase = unseal_passphrase(self.acts, token, pin)
        if not self.volume.opens(slot, passphrase):
            raise TokenUseless(f"cannot open '{self.volume.path}': slot {slot} has not the passphrase of its token")

    def add(self, passphrase: Secret, binding: Binding, pin: Secret, drops: tuple[int, ...] = ()) -> tuple[int, Token]:
        """A new slot and its token, proven; then the slots `drops` go. What fails leaves the header as it was."""
        header = self.volume.header()
        slot = OwnSlot(header.free_slot(), secrets.choice(ITERATIONS))
        kept = self.registry.has_header()
        plan = Plan(Stage.ADDING, slot, _own(header, drops), fingerprint=header.fingerprint, kept=kept)
        self.volume.backup(self.records.backup)
        self.records.begin(plan)
        try:
            token = self._add(slot, passphrase, binding, pin)
            if not drops:
                self._register()
        except BaseException:
            self._bring_back()
            raise
        self.records.begin(replace(plan, stage=Stage.DROPPING, after=self._after(plan, binding, token)))
        self._finish()
        return slot.number, token

    def _after(self, plan: Plan, binding: Binding, token: Token) -> Known:
        """What is known when a plan is done."""
        before, gone = self.records.known(), {slot.number for slot in plan.drops}
        assert plan.adds is not None
        names = {slot: name for slot, name in before.names.items() if slot not in gone}
        names[plan.adds.number] = str(token.name)
        return replace(before, binding=binding, names=names, fingerprint=plan.fingerprint)

    def _add(self, slot: OwnSlot, passphrase: Secret, binding: Binding, pin: Secret) -> Token:
        sealed, own = seal_passphrase(self.acts, self.registry.label(slot.number), binding, pin)
        self.volume.add_key(slot.number, slot.iterations, passphrase, own)
        number = self.volume.header().free_token()
        self.volume.import_token(number, write_token(sealed, slot.number))
        token = read_token(self.volume.header().tokens[number])
        self.prove(slot.number, token, pin)
        return token

    def drop(self, slots: tuple[int, ...]) -> None:
        """Take slots of ours away, with their tokens and what is registered of them; begun, it goes on to its end."""
        header = self.volume.header()
        self.volume.backup(self.records.backup)
        self.records.begin(Plan(Stage.DROPPING, None, _own(header, slots), fingerprint=header.fingerprint))
        self._finish()

    def know(self, found: Found) -> None:
        """Write down what was proven of a token of ours."""
        self.recognise()
        known = self.records.known()
        names = {**known.names, found.slot: str(found.token.name)}
        self.records.know(replace(known, binding=found.token.binding, names=names))

    def recognise(self) -> None:
        """Know the volume from now on by more than its UUID, when a token of ours opened it."""
        self.records.know(replace(self.records.known(), fingerprint=self.volume.header().fingerprint))

    def keep(self, found: Found) -> bool:
        """Have packages carry a sealed object, and the header as it is now; False where it is already so."""
        changed = self.registry.names().get(found.slot) != str(found.token.name)
        if changed:
            self.registry.keep_slot(found.slot, found.token)
        return self.keep_header() or changed

    def keep_header(self) -> bool:
        """Have the encrypted header carried by packages, as it is now; False where it is already so."""
        changed = not self.header_is_kept()
        if changed:
            self._register()
        return changed

    def header_is_kept(self) -> bool:
        """Whether the header that packages carry is that of now."""
        return self.registry.has_header() and self._slim()[1] == self.records.known().header

    def _bring_back(self) -> None:
        """Undo at once, or have the next verb do it. A header beyond reading comes from its backup."""
        with suppress(LmsError):
            try:
                self.volume.header()
            except (HeaderDamaged, NotLuks2):
                self.volume.restore(self.records.backup)
            self._finish()

    def _finish(self) -> None:
        """Bring what was begun to its end: back as long as something was added, forward when something went."""
        plan = self.records.plan()
        if plan is None:
            self.records.sweep()
            return
        back = plan.stage is Stage.ADDING
        for slot in (plan.adds,) if back and plan.adds else plan.drops:
            self._take_away(slot)
        if not back and plan.adds:
            self.keep_header()
            self._know_after(plan)
        elif not (back and (plan.drops or plan.kept)):  # there was none before, or there is none any more
            self._forget()
        self.records.end()

    def _know_after(self, plan: Plan) -> None:
        if plan.after is not None:
            self.records.know(replace(plan.after, header=self.records.known().header))

    def _take_away(self, slot: OwnSlot) -> None:
        header = self.volume.header()
        found = header.slots.get(slot.number)
        if found is not None and found.iterations == slot.iterations:
            if not set(header.persons) - {slot.number}:
                raise OnlyTpmOpens(f"cannot change '{self.volume.path}': nothing but this machine's TPM opens it")
            for number in self._tokens_of(slot, header):
                self.volume.remove_token(number)
            self.volume.kill_slot(slot.number)
        self.registry.forget_slot(slot.number)

    def _tokens_of(self, slot: OwnSlot, header: Header) -> list[int]:
        """Our tokens for a slot of ours: what else names it, stays."""
        own = self._own()
        mine = ((number, known(one)) for number, one in header.tokens.items() if slots_of(one) == (slot.number,))
        return [number for number, token in mine if token and (slot.number, str(token.name)) in own]

    def _slim(self) -> tuple[bytes, str]:
        """The header for keeping, and its digest."""
        raw = self.volume.backup(self.records.copy)
        remove_file(self.records.copy)
        kept = self.volume.header().slim(raw)
        return kept, hashlib.sha256(kept).hexdigest()

    def _register(self) -> None:
        kept, digest = self._slim()
        self.registry.keep_header(kept)
        self.records.know(replace(self.records.known(), header=digest))

    def _forget(self) -> None:
        self.registry.forget_header()
        self.records.know(Known())


def _own(header: Header, slots: tuple[int, ...]) -> tuple[OwnSlot, ...]:
    return tuple(OwnSlot(number, header.slots[number].iterations) for number in slots)
