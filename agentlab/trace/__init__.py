"""The read side of the log. `frames` for DataFrames, `view` and `checkout` for what was so after any event, `summary` for
one screen, `charts`, `export`. `load` opens a log; `stories`, `leases` and `spans` say what its events mean together."""
