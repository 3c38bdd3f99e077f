#!/bin/bash
# The flow of a restore by lmsd once its approval is there, as a careful administrator's script would do it with
# tpm2-tools 5, openssl and curl, in the manner of tpm_keys:
#
#   peer_restore.sh DIRECTORY URL PIN        TPM2TOOLS_TCTI names the new TPM, URL an authority that serves
#
# A program of tpm2-tools does one thing, and the next one reads what it wrote; that is what a script costs. A TPM has
# three slots for objects, and no resource manager stands before this one: they are emptied by hand.
#
# DIRECTORY holds what is needed, in the sizes that lmsd's documents had (`tests/benchmarks/restore.py` makes it). The
# authority speaks to nobody but platforms: each call here asks it the same small question, with the bytes of what would
# be uploaded as a header of the envelope; what would be downloaded lies ready, and its bytes do not travel.
#
#   here               in lmsd
#   soap               one call each, over TLS whose peer is judged by its key; lmsd keeps the connection
#   opened             Tpm.activate: the session's challenge, the certificates, the inner key
#   proven             the answer to a challenge, which opens a session at the authority
#   judged             a signature, and its certificate up to the owner: approval (when it comes, and in what is
#                      released), trust list, package, the new package
#   ek                 genuine_ek: the EK's certificate out of NV, for this EK, up to the maker's root
#   prepared           prepare_tpm: SRK and AK derived, the SRK compared
#   confidential       sessions.confidential: salted with the EK before the SRK was compared, with the SRK afterwards
#   vacant             refuse_foreign, before anything is done and before the key is put into place
#   certified          certificate_for: of AK and signing key, encrypted to this chip
#   import … cmp       import_key, probe.prove
#   kept               a record replaced: write, fsync, rename, fsync; before the key is put into place and after it
#   duplicate, create  enroll_again: new blob for the authority, whose destination the owner's key approved; its inner
#                      key for the recovery key, and kept sealed on this chip
#   tar, sign          archive: the next package, signed, judged as a restorer would, written to disk
#   soap, cmp          deposit: uploaded and read back
#
# Less than in lmsd: tpm2_duplicate takes no session beside the one that authorises, so the new inner key crosses in the
# clear; a session takes an authorisation as an argument alone, which others on the machine may read; neither schemas
# nor canonical form of documents are looked at; no journal of jobs; the authority has no document to judge or to keep.
set -eu
cd "$1"
URL=$2 PIN=$3
EK=0x81010001 SRK=0x81000003 DRSK=0x81000004
SALTED=session:hmac.session
OWNER="$SALTED+$(<owner-auth)"
STORAGE='restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'
SIGNING='restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'

free() { tpm2_flushcontext "$1"; }

soap() { # ENVELOPE: ask the authority
    curl -sf --insecure --pinnedpubkey "$PIN" -H 'Content-Type: application/soap+xml; charset=utf-8' \
        --data-binary "@$1" -o answer.xml "$URL"
}

judged() { # NAME: NAME was signed by signer.pem, whom the owner certified
    openssl verify -CAfile owner.pem signer.pem >judged
    openssl x509 -in signer.pem -noout -pubkey >signer.pub
    openssl dgst -sha256 -verify signer.pub -signature "$1.sig" "$1" >judged
}

opened() { # CREDENTIAL OBJECT: by the EK, whose policy asks for the endorsement hierarchy
    tpm2_startauthsession -Q --policy-session -S ek.session
    tpm2_policysecret -Q -S ek.session -c e
    tpm2_activatecredential -Q -c "$2" -C "$EK" -i "$1" -o opened -P session:ek.session -S hmac.session
    free ek.session
}

proven() { # the answer to the authority's challenge
    opened session.cred "$SRK"
    cat opened nonces | openssl dgst -sha256 -binary -out proof
    soap question.xml
}

confidential() { # KEY: encrypt what crosses, from now on
    tpm2_startauthsession -Q --hmac-session --tpmkey-context "$1" -S hmac.session
    tpm2_sessionconfig -Q hmac.session --enable-encrypt --enable-decrypt
}

vacant() { # HANDLE: nobody's key lives there
    tpm2_getcap handles-persistent >handles
    if grep -qi "$1" handles; then exit 1; fi
}

certified() { # PEM CERTIFICATE: the owner's, for this key
    openssl verify -CAfile owner.pem "$2" >judged
    openssl x509 -in "$2" -noout -pubkey >certified.pub
    cmp -s "$1" certified.pub
}

kept() { # NAME: as a record is replaced
    sync "$1.new"
    mv "$1.new" "$1"
    sync .
}

# what came
judged approval.xml

# ek, prepared
vacant "$DRSK"
tpm2_nvread -Q 0x1c00002 -o ek.der
openssl x509 -inform der -in ek.der -out ek.pem
openssl verify -ignore_critical -CAfile maker-root.pem -untrusted maker.pem ek.pem >judged
openssl x509 -in ek.pem -noout -pubkey >certified.pub
tpm2_readpublic -Q -c "$EK" -f pem -o ek.key
cmp -s ek.key certified.pub
tpm2_getcap properties-variable >properties
grep -q 'ownerAuthSet: *1' properties
confidential "$EK"
tpm2_createprimary -Q -C o -P "$OWNER" -G ecc -a "$STORAGE" -c srk.ctx
tpm2_readpublic -Q -c srk.ctx -o derived.pub
tpm2_readpublic -Q -c "$SRK" -o srk.pub
cmp -s derived.pub srk.pub
free -t
free hmac.session
confidential "$SRK"
tpm2_createprimary -Q -C e -P "$SALTED" -G ecc256:ecdsa-sha256:null -a "$SIGNING" -c ak.ctx
tpm2_readpublic -Q -c ak.ctx -f pem -o ak.key
free -t

# the line to the authority
soap question.xml
proven
soap with-request.xml
soap with-approval.xml
soap question.xml
soap question.xml

# what it released
judged approval.xml
judged trust-list.xml
judged package.xml
opened inner.cred "$SRK"
tpm2_import -Q -C "$SRK" -P "$SALTED" -G ecc -i drsk.dup -s drsk.seed -k drsk.inner -u drsk.pub -r drsk.priv
tpm2_createprimary -Q -C e -P "$SALTED" -G ecc256:ecdsa-sha256:null -a "$SIGNING" -c ak.ctx
opened certificates.cred ak.ctx
free -t
openssl enc -d -aes-256-cbc -pbkdf2 -iter 1 -pass file:opened -in certificates.enc -out certificates.tar
tar -xf certificates.tar
certified ak.key ak.pem
certified sign.pem sign-certificate.pem

# proven, written down, put into place
tpm2_load -Q -C "$SRK" -P "$SALTED" -u drsk.pub -r drsk.priv -c drsk.ctx -n loaded.name
cmp -s loaded.name drsk.name
tpm2_load -Q -C drsk.ctx -u probe.pub -r probe.priv -c probe.ctx
free -t
tpm2_unseal -Q -c probe.ctx -p "$SALTED" -o probe.out
cmp -s probe.out probe.txt
cp state state.new
kept state
vacant "$DRSK"
tpm2_evictcontrol -Q -C o -P "$OWNER" -c drsk.ctx "$DRSK"
free -t

# a new blob for the authority
tpm2_startauthsession -Q --policy-session -S policy.session
tpm2_policyduplicationselect -Q -S policy.session -n drsk.name -N server.name --include-object
tpm2_loadexternal -Q -C o -G ecc -u approver.pem -c approver.ctx
tpm2_verifysignature -Q -c approver.ctx -g sha256 -m server.approval -s server.signature -f ecdsa -t ticket
free -t
tpm2_policyauthorize -Q -S policy.session -i server.approved -q approver.ref -n approver.name -t ticket
tpm2_policysecret -Q -S policy.session -c o "$OWNER"
tpm2_policyor -Q -S policy.session sha256:approved.branch,offline.branch
tpm2_loadexternal -Q -C o -u server.pub -c server.ctx
openssl rand -out archive.inner 16
tpm2_duplicate -Q -C server.ctx -c "$DRSK" -G aes -i archive.inner -p session:policy.session -r archive.dup -s archive.seed
free policy.session
free -t
tpm2_makecredential -Q -T none -u recovery.pub -n "$(<recovery.hex)" -s archive.inner -o archive.cred
tpm2_create -Q -C "$SRK" -P "$SALTED" -i archive.inner -u kept.pub -r kept.priv -a 'fixedtpm|fixedparent|userwithauth|noda'
cp state state.new
kept state

# the new archive, confirmed
soap question.xml
proven
soap question.xml
cp state state.new
kept state
tpm2_load -Q -C "$SRK" -u sign.pub -r sign.priv -c sign.ctx
tar -cf archive.new drsk.pub archive.dup archive.seed archive.cred probe.pub probe.priv
tpm2_sign -Q -c sign.ctx -p "$SALTED+$(<sign-auth)" -g sha256 -s ecdsa -f plain -o archive.sig archive.new
free -t
free hmac.session
openssl dgst -sha256 -verify sign.pem -signature archive.sig archive.new >judged
openssl verify -CAfile owner.pem signer.pem >judged
kept archive
soap with-package.xml
soap question.xml
cmp -s package.xml package.again
cp state state.new
kept state
