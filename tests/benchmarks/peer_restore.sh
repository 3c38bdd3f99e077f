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
#   judged             a signature, and its certificate up to the owner: approval, trust list, package, the new package
#   ek                 genuine_ek: the EK's certificate out of NV, up to the maker's root
#   prepared           prepare_tpm: SRK and AK derived, the SRK compared
#   confidential       sessions.salted; lmsd opens one for each command
#   import … cmp       import_key, probe.prove
#   kept               a record replaced: write, fsync, rename, fsync; before the key is put into place and after it
#   duplicate, create  enroll_again: new blob for the authority, its inner key kept sealed on this chip
#   tar, sign          archive: the next package, signed, judged as a restorer would, written to disk
#   soap, cmp          deposit: uploaded and read back
#
# Less than in lmsd: an authorisation in a file is taken for a password session alone, so the owner's crosses in the
# clear; tpm2_duplicate takes no session beside the one that authorises, so the new inner key does, too; the policy of
# the key has one branch and no approval of its destination; neither schemas nor canonical form of documents are looked
# at; Names are not compared.
set -eu
cd "$1"
URL=$2 PIN=$3
EK=0x81010001 SRK=0x81000003 DRSK=0x81000004
AUTH=file:owner-auth
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

kept() { # NAME: as a record is replaced
    sync "$1.new"
    mv "$1.new" "$1"
    sync .
}

# ek, prepared
tpm2_nvread -Q 0x1c00002 -o ek.der
openssl x509 -inform der -in ek.der -out ek.pem
openssl verify -ignore_critical -CAfile maker-root.pem -untrusted maker.pem ek.pem >judged
tpm2_startauthsession -Q --hmac-session --tpmkey-context "$SRK" -S hmac.session
tpm2_sessionconfig -Q hmac.session --enable-encrypt --enable-decrypt
tpm2_createprimary -Q -C o -P "$AUTH" -G ecc -a "$STORAGE" -c srk.ctx
tpm2_readpublic -Q -c srk.ctx -o derived.pub
tpm2_readpublic -Q -c "$SRK" -o srk.pub
cmp -s derived.pub srk.pub
free -t
tpm2_createprimary -Q -C e -G ecc256:ecdsa-sha256:null -a "$SIGNING" -c ak.ctx
free -t

# the line to the authority
soap question.xml
opened session.cred "$SRK"
soap question.xml
soap with-request.xml
soap with-approval.xml
soap question.xml
soap question.xml

# what it released
judged approval.xml
judged trust-list.xml
judged package.xml
opened inner.cred "$SRK"
tpm2_import -Q -C "$SRK" -P session:hmac.session -G ecc -i drsk.dup -s drsk.seed -k drsk.inner -u drsk.pub -r drsk.priv
tpm2_createprimary -Q -C e -G ecc256:ecdsa-sha256:null -a "$SIGNING" -c ak.ctx
opened certificates.cred ak.ctx
free -t

# proven, written down, put into place
tpm2_load -Q -C "$SRK" -u drsk.pub -r drsk.priv -c drsk.ctx
tpm2_load -Q -C drsk.ctx -u probe.pub -r probe.priv -c probe.ctx
free -t
tpm2_unseal -Q -c probe.ctx -p session:hmac.session -o probe.out
cmp -s probe.out probe.txt
cp state state.new
kept state
tpm2_evictcontrol -Q -C o -P "$AUTH" -c drsk.ctx "$DRSK"
free -t

# a new blob for the authority
tpm2_loadexternal -Q -C o -u server.pub -c server.ctx
tpm2_startauthsession -Q --policy-session -S policy.session
tpm2_policycommandcode -Q -S policy.session TPM2_CC_Duplicate
tpm2_policysecret -Q -S policy.session -c o "$AUTH"
openssl rand -out archive.inner 16
tpm2_duplicate -Q -C server.ctx -c "$DRSK" -G aes -i archive.inner -p session:policy.session -r archive.dup -s archive.seed
free policy.session
free -t
tpm2_create -Q -C "$SRK" -P session:hmac.session -i archive.inner -u kept.pub -r kept.priv -a 'fixedtpm|fixedparent|userwithauth|noda'
cp state state.new
kept state

# the new archive, confirmed
soap question.xml
opened session.cred "$SRK"
free hmac.session
soap question.xml
soap question.xml
tpm2_load -Q -C "$SRK" -u sign.pub -r sign.priv -c sign.ctx
tar -cf archive.new drsk.pub archive.dup archive.seed probe.pub probe.priv
tpm2_sign -Q -c sign.ctx -g sha256 -s ecdsa -f plain -o archive.sig archive.new
free -t
openssl dgst -sha256 -verify sign.pem -signature archive.sig archive.new >judged
openssl verify -CAfile owner.pem signer.pem >judged
kept archive
soap with-package.xml
soap question.xml
cmp -s package.xml package.again
cp state state.new
kept state
