"""What we know of our consumers. Their programs are the doors here; TPM and registry are reached through acts alone."""
