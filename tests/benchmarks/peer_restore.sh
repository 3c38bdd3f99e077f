#!/bin/bash
# What a careful administrator would do with tpm2-tools 5 instead of a restore by lmsd, in the manner of tpm_keys:
#
#   peer_restore.sh DIRECTORY        TPM2TOOLS_TCTI names the new TPM
#
# DIRECTORY holds what the machine has from its recovery server: the duplicate of its recoverable key for the SRK of
# this TPM (drsk.pub, drsk.dup, drsk.seed, drsk.inner), a sealed probe below it (probe.pub, probe.priv, probe.txt), the
# public part of the server's storage key (server.pub), and the owner authorisation of this TPM (owner-auth).
#
#   here                                          in lmsd, once the approval is given
#   createprimary, evictcontrol                   prepare_tpm: SRK derived, compared, made persistent
#   import, load, unseal, cmp                     the released key imported, its probe unsealed
#   evictcontrol                                  the key at its handle
#   loadexternal … duplicate                      new blob for the authority
#   create, load, hash, sign                      the new archive, signed
#   mv, sync                                      written to disk
#
# What lmsd does beside this, and this does not: TLS and SOAP with the authority, attestation of the new TPM, proofs of
# approval and trust, sessions with encrypted parameters, upload and confirmation.
set -eu
cd "$1"
SRK=0x81000003 DRSK=0x81000004
AUTH=file:owner-auth
STORAGE='restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'

# A TPM has three slots for objects; without a resource manager they are emptied by hand.
free() { tpm2_flushcontext "$1"; }

tpm2_createprimary -Q -C o -P "$AUTH" -G ecc -a "$STORAGE" -c srk.ctx
tpm2_evictcontrol -Q -C o -P "$AUTH" -c srk.ctx "$SRK"
free -t

tpm2_import -Q -C "$SRK" -G ecc -i drsk.dup -s drsk.seed -k drsk.inner -u drsk.pub -r drsk.priv
tpm2_load -Q -C "$SRK" -u drsk.pub -r drsk.priv -c drsk.ctx
tpm2_load -Q -C drsk.ctx -u probe.pub -r probe.priv -c probe.ctx
free -t
tpm2_unseal -Q -c probe.ctx -o probe.out
cmp -s probe.out probe.txt
tpm2_evictcontrol -Q -C o -P "$AUTH" -c drsk.ctx "$DRSK"
free -t

tpm2_loadexternal -Q -C o -u server.pub -c server.ctx
tpm2_startauthsession -Q --policy-session -S policy.session
tpm2_policycommandcode -Q -S policy.session TPM2_CC_Duplicate
tpm2_policysecret -Q -S policy.session -c o "$AUTH"
openssl rand -out archive.inner 16
tpm2_duplicate -Q -C server.ctx -c "$DRSK" -G aes -i archive.inner -p session:policy.session -r archive.dup -s archive.seed
free policy.session
free -t

tpm2_create -Q -C "$SRK" -G ecc -a 'sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth' -u sign.pub -r sign.priv
tpm2_load -Q -C "$SRK" -u sign.pub -r sign.priv -c sign.ctx
tar -cf archive.new drsk.pub archive.dup archive.seed probe.pub probe.priv
tpm2_sign -Q -c sign.ctx -g sha256 -s ecdsa -f plain -o archive.sig archive.new
free -t
mv archive.new archive.tar
sync archive.tar archive.sig .
