"""Bytes ↔ model: documents, their signatures and their acceptance. No I/O, no clock."""
