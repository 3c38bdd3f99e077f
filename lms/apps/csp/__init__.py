"""Containers of application keys that unpatched programs use: TSS2 PRIVATE KEY files of OpenSSL, tokens of tpm2-pkcs11.

`container` is the files of one, `certificates` and `pkcs12` read others' files, `registry` knows what is kept. The
verbs are the other modules.
"""
