"""LUKS2 volumes that the recoverable key opens, by tokens that an unpatched systemd understands.

`volume` is the door to cryptsetup, `header` and `token` read what stands on the disk, `sealing` knows what systemd
seals and how, `changing` makes one change that is whole or undone. The verbs are the other modules.
"""
