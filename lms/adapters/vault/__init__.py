"""What a Migration Authority keeps, in SQLite or PostgreSQL: the only importer of SQLAlchemy (DESIGN §5).

How rows are kept is here; what may be kept, released and retired is `lms.service.keeping`'s.
"""

from lms.adapters.vault.vault import SqlVault, open_vault

__all__ = ["SqlVault", "open_vault"]
