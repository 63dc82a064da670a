"""Threats: detectors that listen to every call, what is done about what they find, and how all workers learn of it.

`watch` holds the stage of the decision, `callers` and `networks` what is remembered of each, `patterns` the texts that
try to be code, `ladder` the steps from observing to revoking, `rows` and `keeping` the tables that workers share,
`replay` what other modes would have done. Detectors see no clock and no database.
"""
