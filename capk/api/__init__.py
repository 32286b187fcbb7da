"""Our kinds and Cluster API's as data; no I/O here."""
