"""The lookup bench: a database of a million records, asked in the process and over HTTP under load."""
