"""The log. `base` says what a store promises; `sqlite` and `memory` are stores; `reader` reads a log beside its writer."""
