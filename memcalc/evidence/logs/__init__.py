"""Start-up logs of engines: which line says what, and how that compares with the ledger."""
