"""The kernel's keys for EVM: a master key that the recoverable key opens, and below it the key of the HMACs.

`blobs` is how the kernel writes them down, `files` where they lie, `keyring` the door to keyctl, `registry` what
packages carry of them. The verbs are the other modules.
"""
