"""Containers of application keys that an unpatched OpenSSL uses: TSS2 PRIVATE KEY files below the recoverable key.

`container` is the files of one, `certificates` and `pkcs12` read others' files, `registry` knows what is kept. The
verbs are the other modules.
"""
