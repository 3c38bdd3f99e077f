"""TPM 2.0 structures in pure Python: bytes in, values or an error of `lms.errors` out. No I/O, no clock, no TPM.

Source: TCG, Trusted Platform Module Library (Parts 1 and 2), as narrowed by PROTOCOL §0–§3.
"""
