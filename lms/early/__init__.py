"""Before volumes are opened: is the recoverable key in its place, and if not, can it come back from what is here?

    python3 -I -m lms.early [--config FILE]

What it costs when nothing is wrong is one TPM2_ReadPublic and the start of Python, so that look takes nothing but the
standard library. There is no bus and no network yet: what needs them is for `lmsd`, later.
"""
