"""One decision per call: credential, grant, policy, limits, quota, threat; and the metrics of traffic."""
