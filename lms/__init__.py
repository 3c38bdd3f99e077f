"""The Local Migration Service: TPM keys that survive their TPM."""
