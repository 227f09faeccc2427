"""Schema versions, oldest first; run by db.migrate."""
