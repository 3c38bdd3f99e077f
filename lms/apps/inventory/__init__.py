"""What on this machine is bound to its TPM, and would it survive.

`bond` says how a thing hangs on a TPM, `judging` what becomes of it. `volumes`, `handles` and `files` look;
`key_files`, `credentials`, `clevis`, `pkcs11` and `crypttab` read what others wrote: hostile bytes in, values or an
error out. `examining` is the whole of it, `losing` what an event would take away.
"""
