"""Our kinds and Cluster API's as data. No I/O."""
